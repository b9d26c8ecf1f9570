// Down-projections x A^T on the CPU: the first half of a LoRA pair.
#pragma once

#include <glance/lora_linear.h>

#include "core/packed_matrix.h"

namespace glance {

// Some rows that are computed together, and the adapter they have, or -1.
struct RowTile {
  int64_t begin;
  int32_t rows;
  int32_t adapter;
};

// The even share of rows that tile index of count gets.
inline RowTile row_tile(int64_t begin, int64_t rows, int64_t index, int64_t count,
                        int32_t adapter) noexcept {
  const int64_t from = rows * index / count;
  const int64_t to = rows * (index + 1) / count;
  return {begin + from, static_cast<int32_t>(to - from), adapter};
}

// The most rows of a tile in this type.
int64_t tile_rows_of(glance_dtype dtype) noexcept;

// Rows of an odd number of bf16 copied to contiguous ones, the half word at their end filled with zero.
void copy_odd(const char *x, int64_t stride_bytes, int rows, int64_t columns, char *to) noexcept;

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

  // For rows of x that are whole words.
  void run() const noexcept;
  // For any. False if there is no memory.
  bool run_any() noexcept;
};

// h = scale * (y A^T) for rows row_begin to row_end - 1, each with its segment's adapter. y and h
// point at row 0; strides in elements. Runs in the calling thread. False if there is no memory.
bool project_down(const glance_adapter_table &adapters, glance_dtype dtype, const void *y,
                  int64_t y_stride, void *h, int64_t h_stride, int64_t row_begin,
                  int64_t row_end) noexcept;

// out = x A^T in f32: rows x the rows of a, contiguous. False if there is no memory.
bool project_f32(const glance_matrix &a, const void *x, int64_t x_stride, int64_t rows,
                 float *out) noexcept;

}  // namespace glance
