// Every argument that glance_lora_linear must refuse: the message names it, and nothing is written.
#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/lora_problem.h"
#include "tests/matrix_handle.h"
#include "tests/variants.h"

namespace {

using glance_test::Buffer;
using glance_test::LoraCall;
using glance_test::LoraCase;
using glance_test::LoraTensors;
using glance_test::MatrixHandle;
using glance_test::on_cuda;

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max() / 2;

// Two linears, the second with gate and residual, and two adapters.
LoraCase small(bool given_h) {
  LoraCase c;
  c.dtype = GLANCE_BF16;
  c.rows = 6;
  c.k = 8;
  c.adapters = 2;
  c.segments = std::vector<glance_segment>{{0, 2, 0, 0}, {2, 4, -1, 0}, {4, 6, 1, 0}};
  c.linears = {{5, true, GLANCE_EPILOGUE_NONE, 1, false, {2, 3}},
               {7, false, GLANCE_EPILOGUE_GATED_RESIDUAL, 2, false, {4, 1}}};
  c.given_h = given_h;
  return c;
}

// argument is a word that the message must have.
void expect_refused(const char *argument, const std::function<void(LoraCall &)> &spoil,
                    bool given_h = false) {
  SCOPED_TRACE(argument);
  LoraTensors tensors(small(given_h), 3);
  const LoraTensors before(tensors);
  LoraCall call(&tensors);
  ASSERT_EQ(call.run(), GLANCE_OK) << glance_last_error();
  tensors.y = before.y;
  LoraCall spoiled(&tensors);
  spoil(spoiled);
  EXPECT_TRUE(glance_test::refused(spoiled.run(), argument));
  for (size_t g = 0; g < tensors.y.size(); ++g) {
    EXPECT_TRUE(tensors.y[g].bytes == before.y[g].bytes) << "wrote all the same";
  }
}

void *odd(const void *data) {
  return const_cast<unsigned char *>(static_cast<const unsigned char *>(data)) + 1;
}

// A matrix of another shape or type, which the call keeps.
const glance_matrix *other_matrix(LoraCall &call, int64_t rows, int64_t columns,
                                  glance_dtype dtype = GLANCE_BF16) {
  Buffer values(dtype, rows, columns);
  values.fill(1.0f);
  call.matrices.emplace_back(values);
  return call.matrices.back().get();
}

TEST(LoraLinearRefusals, Args) {
  EXPECT_TRUE(glance_test::refused(glance_lora_linear(nullptr, nullptr), "args"));
}

TEST(LoraLinearRefusals, WhatIsOfCudaIsRefusedOnCpu) {
  GLANCE_CPU_ONLY();
  const int32_t selection[] = {0, 1};
  expect_refused("selection", [&](LoraCall &c) { c.args.adapters.selection = selection; });
  expect_refused("device_index", [](LoraCall &c) { c.args.device_index = 1; });
}

TEST(LoraLinearRefusals, StreamOnCpu) {
  GLANCE_CPU_ONLY();
  LoraTensors tensors(small(false), 3);
  const LoraTensors before(tensors);
  const LoraCall call(&tensors);
  int not_a_stream = 0;
  EXPECT_TRUE(glance_test::refused(glance_lora_linear(&call.args, &not_a_stream), "stream"));
  EXPECT_TRUE(tensors.y[0].bytes == before.y[0].bytes);
}

TEST(LoraLinearRefusals, Numbers) {
  expect_refused("struct_size", [](LoraCall &c) { c.args.struct_size -= 8; });
  expect_refused("struct_size", [](LoraCall &c) { c.args.struct_size = 0; });
  expect_refused("rows", [](LoraCall &c) { c.args.rows = -1; });
  expect_refused("linear_count", [](LoraCall &c) { c.args.linear_count = -1; });
  expect_refused("linear_count", [](LoraCall &c) { c.args.linear_count = 9; });
  expect_refused("dtype", [](LoraCall &c) { c.args.dtype = GLANCE_F16; });  // the matrices are not
  expect_refused("dtype", [](LoraCall &c) { c.args.dtype = 0; });
  expect_refused("dtype", [](LoraCall &c) { c.args.dtype = 4; });
  expect_refused("device", [](LoraCall &c) { c.args.device = 2; });
  expect_refused("device", [](LoraCall &c) { c.args.device = -1; });
  // The matrices are on the other.
  expect_refused("device",
                 [](LoraCall &c) { c.args.device = on_cuda() ? GLANCE_CPU : GLANCE_CUDA; });
  expect_refused("device_index", [](LoraCall &c) { c.args.device_index = -1; });
  expect_refused("tile_columns", [](LoraCall &c) { c.args.tile_columns = 128; });
  expect_refused("tile_columns", [](LoraCall &c) {
    c.args.matmul = GLANCE_MATMUL_WGMMA;
    c.args.tile_columns = 64;
  });
  expect_refused("matmul", [](LoraCall &c) { c.args.matmul = -1; });
  expect_refused("matmul", [](LoraCall &c) { c.args.matmul = GLANCE_MATMUL_CUBLASLT + 1; });
  expect_refused("epilogue", [](LoraCall &c) { c.linears[0].epilogue = 3; });
  expect_refused("epilogue", [](LoraCall &c) { c.linears[1].epilogue = -1; });
  expect_refused("reserved", [](LoraCall &c) { c.linears[1].reserved = 1; });
  expect_refused("rows_per_gate", [](LoraCall &c) { c.linears[1].rows_per_gate = 0; });
  expect_refused("rows_per_gate", [](LoraCall &c) { c.linears[1].rows_per_gate = -3; });
}

TEST(LoraLinearRefusals, NullPointers) {
  expect_refused("x", [](LoraCall &c) { c.args.x = nullptr; });
  expect_refused("linears", [](LoraCall &c) { c.args.linears = nullptr; });
  expect_refused("ups", [](LoraCall &c) { c.args.ups = nullptr; });
  expect_refused("adapters", [](LoraCall &c) { c.args.adapters.adapters = nullptr; });
  expect_refused("segments", [](LoraCall &c) { c.args.adapters.segments = nullptr; });
  expect_refused("weight", [](LoraCall &c) { c.linears[0].weight = nullptr; });
  expect_refused("weight", [](LoraCall &c) { c.linears[1].weight = nullptr; });
  expect_refused("y", [](LoraCall &c) { c.linears[1].y = nullptr; });
  expect_refused("gate", [](LoraCall &c) { c.linears[1].gate = nullptr; });
  expect_refused("residual", [](LoraCall &c) { c.linears[1].residual = nullptr; });
  expect_refused("down", [](LoraCall &c) { c.adapters[1].down = nullptr; });
}

TEST(LoraLinearRefusals, GateAndResidualWithoutTheirEpilogue) {
  expect_refused("gate", [](LoraCall &c) {
    c.linears[0].gate = c.t.gate[0].data();
    c.linears[0].gate_stride = c.t.gate[0].stride;
    c.linears[0].rows_per_gate = 1;
  });
  expect_refused("residual", [](LoraCall &c) {
    c.linears[0].residual = c.t.residual[0].data();
    c.linears[0].residual_stride = c.t.residual[0].stride;
  });
}

TEST(LoraLinearRefusals, Strides) {
  expect_refused("x_stride", [](LoraCall &c) { c.args.x_stride = 7; });
  expect_refused("x_stride", [](LoraCall &c) { c.args.x_stride = -8; });
  expect_refused("y_stride", [](LoraCall &c) { c.linears[0].y_stride = 4; });
  expect_refused("gate_stride", [](LoraCall &c) { c.linears[1].gate_stride = 6; });
  expect_refused("residual_stride", [](LoraCall &c) { c.linears[1].residual_stride = 6; });
  expect_refused(
      "h_stride", [](LoraCall &c) { c.args.h_stride = 5; }, true);
  expect_refused("x", [](LoraCall &c) { c.args.x_stride = kHuge; });
  expect_refused("y", [](LoraCall &c) { c.linears[0].y_stride = kHuge; });
  expect_refused("gate", [](LoraCall &c) { c.linears[1].gate_stride = kHuge; });
  expect_refused("residual", [](LoraCall &c) { c.linears[1].residual_stride = kHuge; });
  expect_refused(
      "h", [](LoraCall &c) { c.args.h_stride = kHuge; }, true);
}

TEST(LoraLinearRefusals, Alignment) {
  expect_refused("x", [](LoraCall &c) { c.args.x = odd(c.args.x); });
  expect_refused("y", [](LoraCall &c) { c.linears[0].y = odd(c.linears[0].y); });
  expect_refused("bias", [](LoraCall &c) { c.linears[0].bias = odd(c.linears[0].bias); });
  expect_refused("gate", [](LoraCall &c) { c.linears[1].gate = odd(c.linears[1].gate); });
  expect_refused("residual",
                 [](LoraCall &c) { c.linears[1].residual = odd(c.linears[1].residual); });
  expect_refused(
      "h", [](LoraCall &c) { c.args.h = odd(c.args.h); }, true);
}

TEST(LoraLinearRefusals, MatricesThatDoNotFit) {
  expect_refused("weight", [](LoraCall &c) { c.linears[1].weight = other_matrix(c, 7, 9); });
  expect_refused("weight",
                 [](LoraCall &c) { c.linears[1].weight = other_matrix(c, 7, 8, GLANCE_F32); });
  expect_refused("weight",
                 [](LoraCall &c) { c.linears[0].weight = other_matrix(c, 5, 8, GLANCE_F32); });
  expect_refused("down", [](LoraCall &c) { c.adapters[0].down = other_matrix(c, 6, 7); });
  expect_refused("down",
                 [](LoraCall &c) { c.adapters[0].down = other_matrix(c, 6, 8, GLANCE_F32); });
  expect_refused("down", [](LoraCall &c) { c.adapters[1].down = other_matrix(c, 2049, 8); });
  expect_refused("up", [](LoraCall &c) { c.ups[0].up = other_matrix(c, 6, 2); });
  expect_refused("up", [](LoraCall &c) { c.ups[3].up = other_matrix(c, 5, 1); });
  expect_refused("up", [](LoraCall &c) { c.ups[0].up = other_matrix(c, 5, 2, GLANCE_F32); });
  expect_refused("rank", [](LoraCall &c) {
    c.adapters[0].down = other_matrix(c, 300, 8);
    c.ups[0].up = other_matrix(c, 5, 257);
  });
}

TEST(LoraLinearRefusals, ColumnsOfH) {
  // The first adapter has R = 6: two columns for the first linear, four for the second.
  expect_refused("first", [](LoraCall &c) { c.ups[0].first = -1; });
  expect_refused("first", [](LoraCall &c) { c.ups[0].first = 5; });
  expect_refused("first", [](LoraCall &c) { c.ups[1].first = 3; });
  expect_refused("first",
                 [](LoraCall &c) { c.ups[1].first = std::numeric_limits<int64_t>::max(); });
  expect_refused("first", [](LoraCall &c) { c.ups[1].up = other_matrix(c, 7, 7); });
}

TEST(LoraLinearRefusals, Adapters) {
  const float inf = std::numeric_limits<float>::infinity();
  expect_refused("scale", [=](LoraCall &c) { c.adapters[0].scale = inf; });
  expect_refused("scale", [=](LoraCall &c) { c.adapters[1].scale = -inf; });
  expect_refused("scale", [=](LoraCall &c) { c.adapters[1].scale = inf - inf; });
  expect_refused("reserved", [](LoraCall &c) { c.adapters[1].reserved = 1; });
  expect_refused("adapter_count", [](LoraCall &c) { c.args.adapters.adapter_count = -1; });
  expect_refused("adapter_count", [](LoraCall &c) { c.args.adapters.adapter_count = 9; });
}

TEST(LoraLinearRefusals, Segments) {
  expect_refused("segment_count", [](LoraCall &c) { c.args.adapters.segment_count = -1; });
  // Rows without a segment.
  expect_refused("segments", [](LoraCall &c) { c.args.adapters.segment_count = 0; });
  expect_refused("segments", [](LoraCall &c) { c.args.adapters.segment_count = 2; });
  expect_refused("segments", [](LoraCall &c) { c.segments[0].begin = 1; });
  expect_refused("segments", [](LoraCall &c) { c.segments[0].begin = -1; });
  expect_refused("segments", [](LoraCall &c) { c.segments[2].end = 5; });
  expect_refused("segments", [](LoraCall &c) { c.segments[2].end = 7; });
  // A gap, an overlap, and one that ends before it begins.
  expect_refused("segments", [](LoraCall &c) { c.segments[1].begin = 3; });
  expect_refused("segments", [](LoraCall &c) { c.segments[1].begin = 1; });
  expect_refused("segments", [](LoraCall &c) { c.segments[1].end = 1; });
  expect_refused("adapter", [](LoraCall &c) { c.segments[1].adapter = -2; });
  expect_refused("adapter", [](LoraCall &c) { c.segments[2].adapter = 2; });
  expect_refused("reserved", [](LoraCall &c) { c.segments[1].reserved = 1; });
}

TEST(LoraLinearRefusals, OutputsThatOverlapInputs) {
  expect_refused("x", [](LoraCall &c) { c.args.x = c.linears[1].y; });
  expect_refused("bias", [](LoraCall &c) { c.linears[0].bias = c.linears[0].y; });
  expect_refused("bias", [](LoraCall &c) { c.linears[0].bias = c.linears[1].y; });
  expect_refused("bias", [](LoraCall &c) { c.linears[1].bias = c.linears[0].y; });
  expect_refused("gate", [](LoraCall &c) { c.linears[1].gate = c.linears[1].y; });
  expect_refused("gate", [](LoraCall &c) { c.linears[1].gate = c.linears[0].y; });
  expect_refused(
      "h", [](LoraCall &c) { c.args.h = c.linears[1].y; }, true);
  // In place with another stride, one row on, and another linear's output.
  expect_refused("residual", [](LoraCall &c) {
    c.linears[1].residual = c.linears[1].y;
    c.linears[1].residual_stride = 8;
  });
  expect_refused("residual", [](LoraCall &c) { c.linears[1].residual = c.t.y[1].at(1, 0); });
  expect_refused("residual", [](LoraCall &c) { c.linears[1].residual = c.linears[0].y; });
}

TEST(LoraLinearRefusals, OutputsThatOverlapEachOther) {
  expect_refused("y", [](LoraCall &c) { c.linears[0].y = c.linears[1].y; });
  expect_refused("y", [](LoraCall &c) { c.linears[0].y = c.t.y[1].at(5, 6); });
}

TEST(LoraLinearWorkspace, NothingIsNeededOnCpuOrWithoutH) {
  const auto needed = [](const LoraCase &c) {
    LoraTensors tensors(c, 3);
    const LoraCall call(&tensors);
    int64_t bytes = -1;
    EXPECT_EQ(glance_lora_linear_workspace(&call.args, &bytes), GLANCE_OK) << glance_last_error();
    return bytes;
  };
  LoraCase without = small(false);
  without.adapters = 0;
  without.segments.clear();
  for (auto &linear : without.linears) linear.ranks.clear();
  EXPECT_EQ(needed(without), 0);
  EXPECT_EQ(needed(small(true)), 0);
  if (on_cuda()) {
    // h, of 6 rows and a largest R of 6, in 2 bytes each.
    EXPECT_GE(needed(small(false)), 6 * 6 * 2);
  } else {
    EXPECT_EQ(needed(small(false)), 0);
  }
}

TEST(LoraLinearWorkspace, TheQueryReadsNoTensors) {
  LoraTensors tensors(small(false), 3);
  LoraCall call(&tensors);
  int64_t whole = -1, without = -1, none = -1;
  ASSERT_EQ(glance_lora_linear_workspace(&call.args, &whole), GLANCE_OK) << glance_last_error();
  call.args.x = nullptr;
  for (glance_linear &l : call.linears) l.y = nullptr;
  ASSERT_EQ(glance_lora_linear_workspace(&call.args, &without), GLANCE_OK) << glance_last_error();
  EXPECT_EQ(without, whole);
  call.args.rows = 0;
  for (glance_segment &s : call.segments) s.begin = s.end = 0;
  ASSERT_EQ(glance_lora_linear_workspace(&call.args, &none), GLANCE_OK) << glance_last_error();
  EXPECT_EQ(none, 0);
}

TEST(LoraLinearWorkspace, TheQueryRefusesWhatTheCallRefuses) {
  LoraTensors tensors(small(false), 3);
  const LoraCall call(&tensors);
  int64_t bytes = -1;
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_workspace(&call.args, nullptr), "bytes"));
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_workspace(nullptr, &bytes), "args"));
  EXPECT_EQ(bytes, 0);
  glance_lora_linear_args args = call.args;
  args.adapters.segment_count = 2;
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_workspace(&args, &bytes), "segments"));
  args = call.args;
  args.matmul = 9;
  EXPECT_TRUE(glance_test::refused(glance_lora_linear_workspace(&args, &bytes), "matmul"));
}

// Too small by a byte, none at all, and misaligned; the same memory whole is taken.
TEST(LoraLinearWorkspaceOnCuda, Refusals) {
  if (!on_cuda()) GTEST_SKIP() << "of CUDA only";
  LoraTensors tensors(small(false), 3);
  LoraCall call(&tensors);
  glance_lora_linear_args args = call.args;
  const glance_test::Mirror mirror(call.buffers());
  mirror.place(&args.x);
  for (glance_linear &l : call.linears) mirror.place(&l.bias, &l.y, &l.gate, &l.residual);
  int64_t bytes = 0;
  ASSERT_EQ(glance_lora_linear_workspace(&args, &bytes), GLANCE_OK) << glance_last_error();
  const glance_test::Workspace workspace(bytes + 256);
  const auto run = [&](void *memory, int64_t size) {
    args.workspace = memory;
    args.workspace_bytes = size;
    return glance_lora_linear(&args, nullptr);
  };
  EXPECT_TRUE(glance_test::refused(run(nullptr, bytes), "workspace_bytes"));
  EXPECT_TRUE(glance_test::refused(run(workspace.data(), bytes - 1), "workspace_bytes"));
  EXPECT_TRUE(glance_test::refused(run(workspace.data(), -1), "workspace_bytes"));
  unsigned char *const odd_place = static_cast<unsigned char *>(workspace.data()) + 128;
  EXPECT_TRUE(glance_test::refused(run(odd_place, bytes), "workspace"));
  const int32_t *const selection = static_cast<const int32_t *>(odd(workspace.data()));
  args.adapters.selection = selection;
  EXPECT_TRUE(glance_test::refused(run(workspace.data(), bytes), "selection"));
  args.adapters.selection = nullptr;
  EXPECT_EQ(mirror.done(run(workspace.data(), bytes)), GLANCE_OK) << glance_last_error();
}

// Two outputs side by side in one matrix, wide enough; second_column and stride of the second vary.
glance_status run_joined(int64_t second_column, int64_t second_stride) {
  LoraCase c;
  c.rows = 4;
  c.k = 3;
  c.linears = {{5, false, GLANCE_EPILOGUE_NONE, 1, false, {}},
               {7, false, GLANCE_EPILOGUE_NONE, 1, false, {}}};
  LoraTensors tensors(c, 3);
  LoraCall call(&tensors);
  Buffer both(GLANCE_F32, 8, 20);
  call.linears[0].y = both.at(0, 2);
  call.linears[0].y_stride = 20;
  call.linears[1].y = both.at(0, second_column);
  call.linears[1].y_stride = second_stride;
  const Buffer before(both);
  const glance_status status = call.run({&both});
  EXPECT_TRUE(status == GLANCE_OK || both.bytes == before.bytes) << "wrote all the same";
  return status;
}

TEST(LoraLinearRefusals, ColumnRangesOfOneMatrix) {
  EXPECT_EQ(run_joined(7, 20), GLANCE_OK) << glance_last_error();
  EXPECT_EQ(run_joined(13, 20), GLANCE_OK) << glance_last_error();
  EXPECT_TRUE(glance_test::refused(run_joined(6, 20), "y"));
  EXPECT_TRUE(glance_test::refused(run_joined(0, 20), "y"));
  // It ends in the next row, where the first has its columns.
  EXPECT_TRUE(glance_test::refused(run_joined(16, 20), "y"));
  EXPECT_TRUE(glance_test::refused(run_joined(7, 21), "y"));
  EXPECT_TRUE(glance_test::refused(run_joined(7, 40), "y"));
}

}  // namespace
