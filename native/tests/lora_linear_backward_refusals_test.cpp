// Every argument that glance_lora_linear_backward must refuse: the message names it, and nothing is
// written.
#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/lora_backward_problem.h"
#include "tests/matrix_handle.h"
#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::Buffer;
using glance_test::MatrixHandle;
using Case = glance_test::BackwardCase;
using Tensors = glance_test::BackwardTensors;
using Call = glance_test::BackwardCall;

// argument is a word that the message must have.
void expect_refused(const char *argument, const std::function<void(Call &, Tensors &)> &spoil) {
  SCOPED_TRACE(argument);
  Case c;
  c.dtype = GLANCE_BF16;
  c.rows = 6;
  c.k = 8;
  c.n = 5;
  c.rank = 3;
  Tensors t(c, 3);
  const Tensors before(t);
  Call call(&t);
  spoil(call, t);
  EXPECT_TRUE(glance_test::refused(call.run(), argument));
  EXPECT_TRUE(t.dx.bytes == before.dx.bytes && t.d_down.bytes == before.d_down.bytes &&
              t.d_up.bytes == before.d_up.bytes)
      << "wrote all the same";
}

template <typename Pointer>
void make_odd(Pointer *pointer) {
  *pointer = reinterpret_cast<Pointer>(reinterpret_cast<uintptr_t>(*pointer) + 1);
}

using Args = glance_lora_linear_backward_args;

void refused_args(const char *argument, const std::function<void(Args &)> &spoil) {
  expect_refused(argument, [&](Call &call, Tensors &) { spoil(call.args); });
}

TEST(LoraLinearBackwardRefusals, Numbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_backward(nullptr, nullptr), "args"));
  refused_args("struct_size", [](Args &a) { a.struct_size += 8; });
  for (const int64_t size : {0, -1}) {
    refused_args("rows", [=](Args &a) { a.rows = size; });
    refused_args("in_features", [=](Args &a) { a.in_features = size; });
    refused_args("out_features", [=](Args &a) { a.out_features = size; });
    refused_args("rank", [=](Args &a) { a.rank = size; });
  }
  refused_args("rank", [](Args &a) { a.rank = 257; });
  refused_args("dtype", [](Args &a) { a.dtype = GLANCE_F16; });  // the matrix is not
  refused_args("dtype", [](Args &a) { a.dtype = 0; });
  refused_args("device", [](Args &a) { a.device = 2; });
  // The matrix is on the other.
  refused_args("device", [](Args &a) {
    a.device = glance_test::on_cuda() ? GLANCE_CPU : GLANCE_CUDA;
  });
  refused_args("device_index", [](Args &a) { a.device_index = -1; });
  refused_args("reserved", [](Args &a) { a.reserved = 1; });
  refused_args("scale", [=](Args &a) { a.scale = inf; });
  refused_args("scale", [=](Args &a) { a.scale = inf - inf; });
}

TEST(LoraLinearBackwardRefusals, StreamOnCpu) {
  GLANCE_CPU_ONLY();
  Tensors t(Case(), 3);
  const Call call(&t);
  int not_a_stream = 0;
  EXPECT_TRUE(
      glance_test::refused(glance_lora_linear_backward(&call.args, &not_a_stream), "stream"));
}

TEST(LoraLinearBackwardWorkspace, Query) {
  Tensors t(Case(), 3);
  const Call call(&t);
  int64_t bytes = -1;
  ASSERT_EQ(glance_lora_linear_backward_workspace(&call.args, &bytes), GLANCE_OK)
      << glance_last_error();
  if (!glance_test::on_cuda()) {
    EXPECT_EQ(bytes, 0);
  }
  EXPECT_GE(bytes, 0);
  EXPECT_TRUE(
      glance_test::refused(glance_lora_linear_backward_workspace(&call.args, nullptr), "bytes"));
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_backward_workspace(nullptr, &bytes), "args"));
  Args args = call.args;
  args.rank = 257;
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_backward_workspace(&args, &bytes), "rank"));
}

// Too small by a byte, none at all, and misaligned; the same memory whole is taken.
TEST(LoraLinearBackwardWorkspaceOnCuda, Refusals) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  Case c;
  c.rows = 6;
  c.k = 8;
  c.n = 5;
  c.rank = 3;
  Tensors t(c, 3);
  const Call call(&t);
  Args args = call.args;
  const glance_test::Mirror mirror(
      {&t.x, &t.dy, &t.down, &t.up, &t.dx, &t.d_down, &t.d_up});
  mirror.place(&args.x, &args.dy, &args.down, &args.up, &args.dx, &args.d_down, &args.d_up);
  int64_t bytes = 0;
  ASSERT_EQ(glance_lora_linear_backward_workspace(&args, &bytes), GLANCE_OK)
      << glance_last_error();
  ASSERT_GT(bytes, 0);
  const glance_test::Workspace workspace(bytes + 256);
  const auto run = [&](void *memory, int64_t size) {
    args.workspace = memory;
    args.workspace_bytes = size;
    return glance_lora_linear_backward(&args, nullptr);
  };
  EXPECT_TRUE(glance_test::refused(run(nullptr, bytes), "workspace_bytes"));
  EXPECT_TRUE(glance_test::refused(run(workspace.data(), bytes - 1), "workspace_bytes"));
  unsigned char *const odd_place = static_cast<unsigned char *>(workspace.data()) + 128;
  EXPECT_TRUE(glance_test::refused(run(odd_place, bytes), "workspace"));
  EXPECT_EQ(mirror.done(run(workspace.data(), bytes)), GLANCE_OK) << glance_last_error();
}

TEST(LoraLinearBackwardRefusals, Memory) {
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  refused_args("x", [](Args &a) { a.x = nullptr; });
  refused_args("dy", [](Args &a) { a.dy = nullptr; });
  refused_args("down", [](Args &a) { a.down = nullptr; });
  refused_args("up", [](Args &a) { a.up = nullptr; });
  refused_args("weight_transposed", [](Args &a) { a.weight_transposed = nullptr; });
  refused_args("x_stride", [](Args &a) { a.x_stride = 7; });
  refused_args("dy_stride", [](Args &a) { a.dy_stride = 4; });
  refused_args("down_stride", [](Args &a) { a.down_stride = 7; });
  refused_args("up_stride", [](Args &a) { a.up_stride = 2; });
  refused_args("dx_stride", [](Args &a) { a.dx_stride = -8; });
  refused_args("d_down_stride", [](Args &a) { a.d_down_stride = 7; });
  refused_args("d_up_stride", [](Args &a) { a.d_up_stride = 0; });
  refused_args("dx", [=](Args &a) { a.dx_stride = huge; });
  refused_args("x", [](Args &a) { make_odd(&a.x); });
  refused_args("dy", [](Args &a) { make_odd(&a.dy); });
  refused_args("down", [](Args &a) { make_odd(&a.down); });
  refused_args("up", [](Args &a) { make_odd(&a.up); });
  refused_args("dx", [](Args &a) { make_odd(&a.dx); });
  refused_args("d_down", [](Args &a) { make_odd(&a.d_down); });
  refused_args("d_up", [](Args &a) { make_odd(&a.d_up); });
}

TEST(LoraLinearBackwardRefusals, WeightThatDoesNotFit) {
  const auto with_weight = [](int64_t rows, int64_t columns, glance_dtype dtype) {
    expect_refused("weight_transposed", [=](Call &call, Tensors &) {
      Buffer values(dtype, rows, columns);
      values.fill(1.0f);
      call.weight = MatrixHandle(values);
      call.args.weight_transposed = call.weight.get();
    });
  };
  with_weight(5, 8, GLANCE_BF16);
  with_weight(8, 6, GLANCE_BF16);
  with_weight(9, 5, GLANCE_BF16);
  with_weight(8, 5, GLANCE_F32);
}

// Every output over every input and every other output.
TEST(LoraLinearBackwardRefusals, Overlap) {
  refused_args("dx", [](Args &a) { a.dx = const_cast<void *>(a.x); });
  refused_args("dx", [](Args &a) { a.dx = const_cast<void *>(a.dy); });
  refused_args("dx", [](Args &a) { a.down = a.dx; });
  refused_args("dx", [](Args &a) { a.up = a.dx; });
  refused_args("d_down", [](Args &a) { a.x = a.d_down; });
  refused_args("d_down", [](Args &a) { a.dy = a.d_down; });
  refused_args("d_down", [](Args &a) { a.down = a.d_down; });
  refused_args("d_down", [](Args &a) { a.up = a.d_down; });
  refused_args("d_up", [](Args &a) { a.x = a.d_up; });
  refused_args("d_up", [](Args &a) { a.dy = a.d_up; });
  refused_args("d_up", [](Args &a) { a.down = a.d_up; });
  refused_args("d_up", [](Args &a) { a.up = a.d_up; });
  refused_args("d_down", [](Args &a) { a.dx = a.d_down; });
  refused_args("d_up", [](Args &a) { a.dx = a.d_up; });
  refused_args("d_up", [](Args &a) { a.d_down = a.d_up; });
}

}  // namespace
