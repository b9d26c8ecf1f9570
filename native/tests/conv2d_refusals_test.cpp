// What glance_conv2d refuses: a status and a message that names the argument; nothing is written.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/conv2d_problem.h"

namespace {

using glance_test::Conv2dCase;
using glance_test::Conv2dProblem;
using glance_test::MatrixHandle;
using glance_test::refused;

Conv2dCase plain() {
  Conv2dCase c;
  c.height = 4, c.width = 5, c.in = 6, c.out = 6;
  c.norm = GLANCE_CONV2D_NORM_GROUP, c.groups = 3, c.silu = true, c.residual = true;
  return c;
}

void expect_refused(const char *argument, const std::function<void(Conv2dProblem &)> &spoil) {
  Conv2dProblem p(plain(), 3), before(plain(), 3);
  p.pack();
  spoil(p);
  EXPECT_TRUE(refused(glance_conv2d(&p.args, nullptr), argument));
  EXPECT_EQ(p.x.bytes, before.x.bytes) << argument;
  EXPECT_EQ(p.y.bytes, before.y.bytes) << argument;
  EXPECT_EQ(p.residual.bytes, before.residual.bytes) << argument;
}

TEST(Conv2dRefusals, Numbers) {
  EXPECT_TRUE(refused(glance_conv2d(nullptr, nullptr), "args"));
  const float inf = std::numeric_limits<float>::infinity();
  const int64_t large = int64_t{1} << 31;
  expect_refused("struct_size", [](Conv2dProblem &p) { p.args.struct_size -= 8; });
  expect_refused("samples", [](Conv2dProblem &p) { p.args.samples = 0; });
  expect_refused("height", [](Conv2dProblem &p) { p.args.height = -1; });
  expect_refused("width", [=](Conv2dProblem &p) { p.args.width = large; });
  expect_refused("in_channels", [](Conv2dProblem &p) { p.args.in_channels = 0; });
  expect_refused("out_channels", [](Conv2dProblem &p) { p.args.out_channels = 0; });
  expect_refused("groups", [](Conv2dProblem &p) { p.args.groups = 0; });
  expect_refused("groups", [](Conv2dProblem &p) { p.args.groups = 4; });
  expect_refused("groups", [](Conv2dProblem &p) { p.args.norm = GLANCE_CONV2D_NORM_PIXEL; });
  expect_refused("norm", [](Conv2dProblem &p) { p.args.norm = 3; });
  expect_refused("epsilon", [](Conv2dProblem &p) { p.args.epsilon = -1e-6f; });
  expect_refused("epsilon", [=](Conv2dProblem &p) { p.args.epsilon = inf - inf; });
  expect_refused("kernel", [](Conv2dProblem &p) { p.args.kernel = 2; });
  expect_refused("kernel", [](Conv2dProblem &p) { p.args.kernel = 1, p.args.upscale = 1; });
  expect_refused("form", [](Conv2dProblem &p) { p.args.form = 2; });
  expect_refused("form", [](Conv2dProblem &p) { p.args.upscale = 1; });
  expect_refused("form", [](Conv2dProblem &p) {
    p.args.kernel = 1, p.args.form = GLANCE_CONV2D_FORM_WINOGRAD;
  });
  expect_refused("dtype", [](Conv2dProblem &p) { p.args.dtype = GLANCE_BF16; });
  expect_refused("device", [](Conv2dProblem &p) { p.args.device = 2; });
  expect_refused("device_index", [](Conv2dProblem &p) { p.args.device_index = 1; });
  expect_refused("reserved", [](Conv2dProblem &p) { p.args.reserved = 1; });
}

TEST(Conv2dRefusals, Memory) {
  const auto odd = [](const void *p) { return static_cast<const char *>(p) + 1; };
  expect_refused("x", [](Conv2dProblem &p) { p.args.x = nullptr; });
  expect_refused("y", [](Conv2dProblem &p) { p.args.y = nullptr; });
  expect_refused("x", [=](Conv2dProblem &p) { p.args.x = odd(p.args.x); });
  expect_refused("residual", [=](Conv2dProblem &p) { p.args.residual = odd(p.args.residual); });
  expect_refused("bias", [=](Conv2dProblem &p) { p.args.bias = odd(p.args.bias); });
  expect_refused("norm_weight", [=](Conv2dProblem &p) { p.args.norm_weight = odd(p.args.x); });
  expect_refused("norm_bias", [=](Conv2dProblem &p) { p.args.norm_bias = odd(p.args.x); });
  expect_refused("y", [](Conv2dProblem &p) { p.args.y = p.x.data(); });
  expect_refused("residual", [](Conv2dProblem &p) { p.args.residual = p.y.at(1, 0); });
  expect_refused("bias", [](Conv2dProblem &p) { p.args.bias = p.y.data(); });
  expect_refused("norm_weight", [](Conv2dProblem &p) { p.args.norm_weight = p.y.data(); });
  expect_refused("y", [](Conv2dProblem &p) {
    p.args.samples = p.args.height = p.args.width = (int64_t{1} << 20);
  });
  expect_refused("height", [](Conv2dProblem &p) {
    p.args.samples = p.args.height = p.args.width = (int64_t{1} << 31) - 1;
  });
}

TEST(Conv2dRefusals, Weights) {
  expect_refused("weights", [](Conv2dProblem &p) { p.args.weights = nullptr; });
  expect_refused("weights", [](Conv2dProblem &p) { p.args.kernel = 1; });
  expect_refused("weights", [](Conv2dProblem &p) { p.args.form = GLANCE_CONV2D_FORM_WINOGRAD; });
  expect_refused("weights", [](Conv2dProblem &p) {
    p.c.winograd = true, p.pack();
    p.args.form = GLANCE_CONV2D_FORM_WINOGRAD, p.args.upscale = 1;
  });
}

TEST(Conv2dRefusals, CudaIsUnsupported) {
  Conv2dProblem p(plain(), 3);
  p.pack();
  int not_a_stream = 0;
  EXPECT_TRUE(refused(glance_conv2d(&p.args, &not_a_stream), "stream"));
}

}  // namespace
