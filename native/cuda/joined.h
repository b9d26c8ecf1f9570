// Copies around cuBLASLt's products: two matrices side by side in one, and a product's f32 sums to
// the result of a linear.
#pragma once

#include "cuda/lora_params.h"

namespace glance {

// left | right | zeros, row by row. Strides in elements; without right, right_columns is 0.
struct JoinParams {
  const void *left;
  int64_t left_row_stride;
  int64_t left_column_stride;
  const void *right;
  int64_t right_row_stride;
  int64_t right_column_stride;
  // Aligned to 16 bytes, rows x columns without gaps; columns is a multiple of 8.
  void *joined;
  int32_t rows;
  int32_t columns;
  int32_t left_columns;
  int32_t right_columns;
};

glance_status join_cuda(const JoinParams &params, glance_dtype dtype, cudaStream_t stream) noexcept;

// linear.y = epilogue(sum + bias), rounded to dtype, in rows begin to end - 1; an epilogue other
// than GLANCE_EPILOGUE_NONE. The sums begin with row begin and have no gaps.
glance_status finish_sums_cuda(const float *sums, const LinearParams &linear, int32_t begin,
                               int32_t end, glance_dtype dtype, cudaStream_t stream) noexcept;

}  // namespace glance
