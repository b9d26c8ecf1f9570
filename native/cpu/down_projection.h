// Down-projections x A^T on the CPU: the first half of a LoRA pair.
#pragma once

#include <glance/lora_linear.h>

#include "core/packed_matrix.h"

namespace glance {

// out = scale * (x A^T) for a tile of rows, rounded to out_dtype. Strides in bytes.
struct DownTile {
  const glance_matrix &a;
  float scale;
  const char *x;
  int64_t x_stride_bytes;
  int rows;
  char *out;
  int64_t out_stride_bytes;
  glance_dtype out_dtype;

  void run() const noexcept;
};

// h = scale * (y A^T) for rows row_begin to row_end - 1, each with its segment's adapter. y and h
// point at row 0; strides in elements. Runs in the calling thread.
void project_down(const glance_adapter_table &adapters, glance_dtype dtype, const void *y,
                  int64_t y_stride, void *h, int64_t h_stride, int64_t row_begin,
                  int64_t row_end) noexcept;

// out = x A^T in f32: rows x the rows of a, contiguous.
void project_f32(const glance_matrix &a, const void *x, int64_t x_stride, int64_t rows,
                 float *out) noexcept;

}  // namespace glance
