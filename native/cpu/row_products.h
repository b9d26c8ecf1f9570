// Products of two matrices over their common rows: what the gradients of a LoRA pair are.
#pragma once

#include <glance/core.h>

#include <cstdint>

namespace glance {

// out[i][j] (+)= scale * sum over m of p[m][i] * q[m][j], for i < p_columns and columns begin to
// end - 1 of q. p is f32 and contiguous; q is of dtype. Sums are taken in f32 in the order of the
// rows. out[i][j] is at out + i * out_i_stride + j * out_j_stride.
struct RowProducts {
  const float *p;
  const void *q;
  float *out;
  int64_t rows;
  int64_t p_columns;
  int64_t q_stride;
  int64_t out_i_stride;
  int64_t out_j_stride;
  int64_t begin;
  int64_t end;
  float scale;
  bool accumulate;
  glance_dtype dtype;
};

void row_products_baseline(const RowProducts &products) noexcept;
void row_products_avx2(const RowProducts &products) noexcept;
void row_products_avx512(const RowProducts &products) noexcept;
void row_products_avx512_bf16(const RowProducts &products) noexcept;

}  // namespace glance
