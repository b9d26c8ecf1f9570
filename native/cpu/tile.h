// The register tile of the CPU's matrix product, and what becomes of its sums.
#pragma once

#include <glance/lora_linear.h>

#include <cstdint>

namespace glance {

// No instruction set's tile is larger.
constexpr int kMaxTileRows = 14;
constexpr int kMaxTileColumns = 32;

// One product that a tile's sums take in: rows of x, in words of 32 bits (one f32, or a pair of
// bf16), times a panel of a glance_matrix.
struct TileTerm {
  const char *x;
  int64_t x_stride_bytes;
  const uint32_t *panel;
  int64_t units;
};

// Where a tile's sums go. All pointers are at the tile's first row and column, null where the call
// has none; strides are in elements.
struct TileOutput {
  char *y;
  int64_t y_stride;
  const char *bias;
  // Row i of the tile has gate row (gate_row + i) / rows_per_gate; gate points at row 0.
  const char *gate;
  int64_t gate_stride;
  int64_t gate_row;
  int64_t rows_per_gate;
  const char *residual;
  int64_t residual_stride;
  glance_epilogue epilogue;
};

// The code for one instruction set.
struct TileKernels {
  // The width of a panel; sums have this many columns, whatever a tile uses of them.
  int columns;
  // The most rows of a tile.
  int rows_f32;
  int rows_bf16;

  // sums[i][j] = the terms' products added up, each over its units in order, for i < rows and
  // j < used, rounded up to half a panel; the other columns are not written.
  void (*sums_f32)(const TileTerm *terms, int count, int rows, int used, float *sums);
  void (*sums_bf16)(const TileTerm *terms, int count, int rows, int used, float *sums);

  // Adds the bias, applies the epilogue, rounds and stores rows x used values.
  void (*finish_f32)(const TileOutput &output, const float *sums, int rows, int used);
  void (*finish_bf16)(const TileOutput &output, const float *sums, int rows, int used);

  // y = scale * sums, rounded: a down-projection.
  void (*scale_f32)(char *y, int64_t y_stride, float scale, const float *sums, int rows, int used);
  void (*scale_bf16)(char *y, int64_t y_stride, float scale, const float *sums, int rows, int used);
};

// Those for this machine.
const TileKernels &tile_kernels() noexcept;

const TileKernels &tile_kernels_baseline() noexcept;
const TileKernels &tile_kernels_avx2() noexcept;
const TileKernels &tile_kernels_avx512() noexcept;
const TileKernels &tile_kernels_avx512_bf16() noexcept;

}  // namespace glance
