// The copies around cuBLASLt's products, on a device or on the emulator: joined columns bit for
// bit, finished sums against the formulas.
#include "cuda/joined.h"

#include <glance/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance::JoinParams;
using glance::LinearParams;
using glance_test::Buffer;
using glance_test::Mirror;

struct JoinCase {
  int32_t rows;
  int32_t left;
  int32_t right;
  int32_t columns;
  int64_t gap;
  int64_t offset;
  // Left is read along its columns.
  bool transposed;
};

// Joined from buffers whose gaps are poison, and compared as bytes.
void check_join(const JoinCase &c, glance_dtype dtype) {
  std::mt19937 random(glance_test::first_seed());
  Buffer left(dtype, c.transposed ? c.left : c.rows, c.transposed ? c.rows : c.left, c.gap,
              c.offset);
  Buffer right(dtype, c.rows, c.right, c.gap, c.offset);
  Buffer joined(dtype, c.rows, c.columns);
  left.fill(random);
  right.fill(random);
  JoinParams p = {};
  p.left = left.data();
  p.left_row_stride = c.transposed ? 1 : left.stride;
  p.left_column_stride = c.transposed ? left.stride : 1;
  p.right = right.data();
  p.right_row_stride = right.stride;
  p.right_column_stride = 1;
  p.joined = joined.data();
  p.rows = c.rows;
  p.columns = c.columns;
  p.left_columns = c.left;
  p.right_columns = c.right;
  const Mirror mirror({&left, &right, &joined});
  mirror.place(&p.left, &p.right, &p.joined);
  ASSERT_EQ(mirror.done(glance::join_cuda(p, dtype, nullptr)), GLANCE_OK) << glance_last_error();
  for (int32_t i = 0; i < c.rows; ++i) {
    for (int32_t j = 0; j < c.columns; ++j) {
      float want = 0.0f;
      if (j < c.left) {
        want = c.transposed ? left.get(j, i) : left.get(i, j);
      } else if (j < c.left + c.right) {
        want = right.get(i, j - c.left);
      }
      ASSERT_EQ(joined.get(i, j), want) << "at " << i << "," << j;
    }
  }
  EXPECT_TRUE(joined.gaps_untouched());
}

TEST(Joined, Columns) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  const JoinCase cases[] = {{5, 24, 16, 40, 0, 0, false},   {7, 24, 3, 32, 8, 8, false},
                            {300, 13, 5, 24, 3, 1, false},  {9, 16, 4, 24, 0, 8, true},
                            {1, 100, 0, 104, 0, 1, false},  {4, 8, 0, 8, 1, 0, false},
                            {33, 129, 17, 152, 7, 0, false}};
  for (const JoinCase &c : cases) {
    for (const glance_dtype dtype : glance_test::dtypes()) {
      SCOPED_TRACE(testing::Message() << glance_test::name(dtype) << " " << c.rows << " x "
                                      << c.left << " | " << c.right << " in " << c.columns);
      check_join(c, dtype);
      if (HasFatalFailure()) return;
    }
  }
}

// With an epilogue, in the last rows of y only.
void check_sums(glance_epilogue epilogue, bool with_bias, glance_dtype dtype) {
  constexpr int32_t kRows = 20;
  constexpr int32_t kBegin = 7;
  constexpr int32_t kColumns = 19;
  constexpr int32_t kRowsPerGate = 6;
  std::mt19937 random(glance_test::first_seed());
  Buffer sums(GLANCE_F32, kRows - kBegin, kColumns);
  Buffer bias(dtype, 1, kColumns, 0, 1);
  Buffer gate(dtype, (kRows - 1) / kRowsPerGate + 1, kColumns, 2, 1);
  Buffer residual(dtype, kRows, kColumns, 5, 3);
  Buffer y(dtype, kRows, kColumns, 4, 1);
  for (Buffer *buffer : {&sums, &bias, &gate, &residual}) buffer->fill(random);
  y.fill(99.0f);
  LinearParams l = {};
  l.bias = with_bias ? bias.data() : nullptr;
  l.y = y.data();
  l.y_stride = y.stride;
  l.gate = gate.data();
  l.gate_stride = gate.stride;
  l.rows_per_gate = kRowsPerGate;
  l.residual = residual.data();
  l.residual_stride = residual.stride;
  l.n = kColumns;
  l.epilogue = epilogue;
  const void *device_sums = sums.data();
  const Mirror mirror({&sums, &bias, &gate, &residual, &y});
  mirror.place(&device_sums, &l.bias, &l.y, &l.gate, &l.residual);
  const glance_status status = glance::finish_sums_cuda(static_cast<const float *>(device_sums), l,
                                                        kBegin, kRows, dtype, nullptr);
  ASSERT_EQ(mirror.done(status), GLANCE_OK) << glance_last_error();
  const double limit = dtype == GLANCE_F32 ? 1e-5 : dtype == GLANCE_F16 ? 2e-3 : 1e-2;
  for (int32_t i = 0; i < kRows; ++i) {
    for (int32_t j = 0; j < kColumns; ++j) {
      double want = 99;
      if (i >= kBegin) {
        const double s = static_cast<double>(sums.get(i - kBegin, j)) +
                         (with_bias ? static_cast<double>(bias.get(0, j)) : 0.0);
        want = epilogue == GLANCE_EPILOGUE_GELU_TANH
                   ? s / 2 * (1 + std::tanh(0.7978845608028654 * (s + 0.044715 * s * s * s)))
                   : residual.get(i, j) + static_cast<double>(gate.get(i / kRowsPerGate, j)) * s;
      }
      ASSERT_NEAR(y.get(i, j), want, limit * (1 + std::fabs(want))) << "at " << i << "," << j;
    }
  }
  EXPECT_TRUE(y.gaps_untouched());
}

TEST(Joined, FinishedSums) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  for (const glance_dtype dtype : glance_test::dtypes()) {
    for (const glance_epilogue epilogue :
         {GLANCE_EPILOGUE_GELU_TANH, GLANCE_EPILOGUE_GATED_RESIDUAL}) {
      for (const bool with_bias : {false, true}) {
        SCOPED_TRACE(testing::Message() << glance_test::name(dtype) << " epilogue " << epilogue);
        check_sums(epilogue, with_bias, dtype);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
