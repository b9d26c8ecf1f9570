// Every argument that glance_attention must refuse: the message names it, and nothing is written.
#include <glance/attention.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>

#include "tests/attention_problem.h"

namespace {

using glance_test::AttentionCase;
using glance_test::AttentionProblem;
using glance_test::Layout;
using glance_test::refused;

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max() / 2;
constexpr int64_t kInt32 = std::numeric_limits<int32_t>::max();

AttentionProblem small() {
  AttentionCase c;
  c.batch = 2;
  c.heads = 3;
  c.queries = 4;
  c.keys = 5;
  c.dim = 6;
  c.gap = 2;
  c.dtype = GLANCE_BF16;
  c.out = Layout::tokens_outside;
  return AttentionProblem(c, 3);
}

bool nothing_written(const AttentionProblem &p) {
  const AttentionProblem fresh = small();
  return p.out.buffer.bytes == fresh.out.buffer.bytes && p.q.buffer.bytes == fresh.q.buffer.bytes &&
         p.k.buffer.bytes == fresh.k.buffer.bytes && p.v.buffer.bytes == fresh.v.buffer.bytes;
}

// argument is a word that the message must have.
void expect_refused(const char *argument, const std::function<void(AttentionProblem &)> &spoil) {
  SCOPED_TRACE(argument);
  AttentionProblem p = small();
  spoil(p);
  EXPECT_TRUE(refused(p.run(), argument));
  EXPECT_TRUE(nothing_written(p)) << "wrote all the same";
}

using Args = glance_attention_args;

void refused_args(const char *argument, const std::function<void(Args &)> &spoil) {
  expect_refused(argument, [&](AttentionProblem &p) { spoil(p.args); });
}

const void *odd(const void *data) { return static_cast<const char *>(data) + 1; }
void *odd(void *data) { return static_cast<char *>(data) + 1; }

TEST(AttentionRefusals, TheUnspoiledCallRuns) {
  const AttentionProblem p = small();
  EXPECT_EQ(p.run(), GLANCE_OK) << glance_last_error();
  EXPECT_FALSE(nothing_written(p));
}

TEST(AttentionRefusals, Numbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(refused(glance_attention(nullptr, nullptr), "args"));
  refused_args("struct_size", [](Args &a) { a.struct_size -= 8; });
  refused_args("dtype", [](Args &a) { a.dtype = GLANCE_F16; });
  refused_args("dtype", [](Args &a) { a.dtype = 0; });
  refused_args("out_dtype", [](Args &a) { a.out_dtype = GLANCE_F16; });
  refused_args("out_dtype", [](Args &a) { a.out_dtype = 7; });
  refused_args("scale", [=](Args &a) { a.scale = inf; });
  refused_args("scale", [=](Args &a) { a.scale = -inf; });
  refused_args("scale", [=](Args &a) { a.scale = inf - inf; });
  refused_args("device", [](Args &a) { a.device = 2; });
  refused_args("device_index", [](Args &a) { a.device_index = 1; });
  refused_args("device_index", [](Args &a) { a.device_index = -1; });
  refused_args("reserved", [](Args &a) { a.reserved = 1; });
}

TEST(AttentionRefusals, Sizes) {
  for (const int64_t wrong : {int64_t{0}, int64_t{-1}, kInt32 + 1, kHuge}) {
    refused_args("batch", [=](Args &a) { a.batch = wrong; });
    refused_args("heads", [=](Args &a) { a.heads = wrong; });
    refused_args("queries", [=](Args &a) { a.queries = wrong; });
    refused_args("keys", [=](Args &a) { a.keys = wrong; });
    refused_args("dim", [=](Args &a) { a.dim = wrong; });
  }
  // Each may be, but not both.
  refused_args("keys", [](Args &a) {
    a.keys = kInt32;
    a.dim = (int64_t{1} << 48) / kInt32 + 1;
    a.kv_token_stride = 0;
  });
  refused_args("keys", [](Args &a) { a.keys = a.dim = kInt32; });
}

TEST(AttentionRefusals, Pointers) {
  refused_args("q", [](Args &a) { a.q = nullptr; });
  refused_args("k", [](Args &a) { a.k = nullptr; });
  refused_args("v", [](Args &a) { a.v = nullptr; });
  refused_args("out", [](Args &a) { a.out = nullptr; });
  refused_args("q", [](Args &a) { a.q = odd(a.q); });
  refused_args("k", [](Args &a) { a.k = odd(a.k); });
  refused_args("v", [](Args &a) { a.v = odd(a.v); });
  refused_args("out", [](Args &a) { a.out = odd(a.out); });
}

// Half an f32: aligned for the inputs, but not for out.
TEST(AttentionRefusals, AlignmentIsThatOfTheTensorsOwnType) {
  refused_args("out", [](Args &a) { a.out = static_cast<char *>(a.out) + 2; });
}

TEST(AttentionRefusals, Strides) {
  for (const int64_t wrong : {int64_t{-1}, kHuge}) {
    refused_args("q", [=](Args &a) { a.q_batch_stride = wrong; });
    refused_args("q", [=](Args &a) { a.q_head_stride = wrong; });
    refused_args("q", [=](Args &a) { a.q_token_stride = wrong; });
    refused_args("k", [=](Args &a) { a.kv_batch_stride = wrong; });
    refused_args("k", [=](Args &a) { a.kv_head_stride = wrong; });
    refused_args("k", [=](Args &a) { a.kv_token_stride = wrong; });
    refused_args("out", [=](Args &a) { a.out_batch_stride = wrong; });
    refused_args("out", [=](Args &a) { a.out_head_stride = wrong; });
    refused_args("out", [=](Args &a) { a.out_token_stride = wrong; });
  }
}

// out is [2, 4, 3 * 6], 20 apart.
TEST(AttentionRefusals, RowsOfOutThatShareElements) {
  refused_args("out", [](Args &a) { a.out_head_stride = 5; });
  refused_args("out", [](Args &a) { a.out_head_stride = 0; });
  refused_args("out", [](Args &a) { a.out_token_stride = 17; });
  refused_args("out", [](Args &a) { a.out_token_stride = 0; });
  refused_args("out", [](Args &a) { a.out_head_stride = a.out_token_stride; });
  refused_args("out", [](Args &a) { a.out_batch_stride = 77; });
  refused_args("out", [](Args &a) { a.out_batch_stride = 0; });
  // Heads outside: a head's tokens reach 66 elements.
  refused_args("out", [](Args &a) {
    a.out_head_stride = 65;
    a.out_batch_stride = 300;
  });
}

// The tightest that do not.
TEST(AttentionRefusals, RowsOfOutMayTouch) {
  AttentionProblem p = small();
  p.args.out_token_stride = 18;
  p.args.out_batch_stride = 72;
  EXPECT_EQ(p.run(), GLANCE_OK) << glance_last_error();
  p.args.out_token_stride = 6;
  p.args.out_head_stride = 24;
  EXPECT_EQ(p.run(), GLANCE_OK) << glance_last_error();
}

// The distance of an axis with one entry is not looked at, unless it is negative.
TEST(AttentionRefusals, OneEntryHasNoDistance) {
  AttentionProblem p = small();
  p.args.heads = p.args.batch = 1;
  p.args.out_head_stride = p.args.out_batch_stride = 1;
  EXPECT_EQ(p.run(), GLANCE_OK) << glance_last_error();
}

TEST(AttentionRefusals, OutThatOverlapsAnInput) {
  expect_refused("q", [](AttentionProblem &p) { p.args.q = p.args.out; });
  expect_refused("k", [](AttentionProblem &p) { p.args.k = p.args.out; });
  expect_refused("v", [](AttentionProblem &p) { p.args.v = p.args.out; });
  // By one element.
  expect_refused("q", [](AttentionProblem &p) { p.args.q = p.out.buffer.at(7, 17); });
}

TEST(AttentionRefusals, StreamOnCpu) {
  const AttentionProblem p = small();
  int not_a_stream = 0;
  EXPECT_TRUE(refused(glance_attention(&p.args, &not_a_stream), "stream"));
  EXPECT_TRUE(nothing_written(p));
}

TEST(AttentionRefusals, CudaIsUnsupported) {
  AttentionProblem p = small();
  p.args.device = GLANCE_CUDA;
  EXPECT_EQ(p.run(), GLANCE_UNSUPPORTED);
  EXPECT_TRUE(nothing_written(p));
}

// Sizes that are allowed, of memory that is one row, with a workspace that no machine has.
TEST(AttentionRefusals, TooLargeIsOutOfMemory) {
  AttentionCase c;
  c.dim = 1 << 18;
  AttentionProblem p(c, 3);
  const auto before = p.out.buffer.bytes;
  p.args.keys = int64_t{1} << 30;
  p.args.kv_token_stride = 0;
  EXPECT_EQ(p.run(), GLANCE_OUT_OF_MEMORY) << glance_last_error();
  EXPECT_TRUE(p.out.buffer.bytes == before);
}

}  // namespace
