// lora_linear on CUDA: what its kernels get, how outputs are cut into tiles, and what is done with
// a sum. A tile's rows belong to one segment, so its adapter is one choice, made when it starts.
#pragma once

#include <cuda_runtime.h>
#include <glance/lora_linear.h>

#include <cstdint>

#include "math/element.h"
#include "math/gated_residual.h"
#include "math/gelu.h"
#include "math/host_device.h"

namespace glance {

// In one launch; a call with more is several launches. With these the parameters stay below the 32
// KB that a kernel may have.
constexpr int kMaxSegments = 256;

// B, N x rank.
struct UpParams {
  const void *b;
  int64_t row_stride;
  int64_t column_stride;
  // 0: the adapter leaves this linear alone.
  int32_t rank;
  // The first of its columns of h.
  int32_t first;
};

// A, R x K.
struct DownParams {
  const void *a;
  int64_t row_stride;
  int64_t column_stride;
  int32_t r;
  float scale;
};

struct LinearParams {
  // W, N x K.
  const void *w;
  int64_t w_row_stride;
  int64_t w_column_stride;
  const void *bias;
  void *y;
  int64_t y_stride;
  const void *gate;
  int64_t gate_stride;
  int32_t rows_per_gate;
  const void *residual;
  int64_t residual_stride;
  int32_t n;
  int32_t epilogue;
  UpParams up[GLANCE_MAX_ADAPTERS];
};

// Rows begin to end - 1. Tiles of kTileRows rows are counted through all segments; the first of
// this one is first_tile.
struct SegmentParams {
  int32_t begin;
  int32_t end;
  int32_t adapter;
  int32_t first_tile;
};

struct LoraParams {
  // rows x K.
  const void *x;
  int64_t x_stride;
  // rows x R, null without adapters.
  void *h;
  int64_t h_stride;
  int32_t rows;
  int32_t k;
  int32_t linear_count;
  int32_t adapter_count;
  int32_t segment_count;
  // Of all segments.
  int32_t row_tiles;
  // 1: h comes from the kernel right before on the stream, which itself came after all that wrote
  // x. Then the products may start before that kernel is done. 0: x may come from it as well.
  int32_t h_from_previous;
  // In device memory, or null: the adapter that a segment's adapter stands for.
  const int32_t *selection;
  DownParams down[GLANCE_MAX_ADAPTERS];
  LinearParams linears[GLANCE_MAX_LINEARS];
  SegmentParams segments[kMaxSegments];
};

// Rows of an output tile, whatever the kernel.
constexpr int kTileRows = 128;

struct RowTileParams {
  int32_t begin;
  int32_t count;
  // Or -1.
  int32_t adapter;
};

// By value, unlike std::min's: a reference to a constant is no use on the device.
static __host__ __device__ __forceinline__ int32_t lesser(int32_t a, int32_t b) {
  return a < b ? a : b;
}
static __host__ __device__ __forceinline__ int32_t greater(int32_t a, int32_t b) {
  return a > b ? a : b;
}

// The adapter that rows of a segment get: an index, or -1 for none.
static __host__ __device__ __forceinline__ int32_t selected(const LoraParams &p, int32_t adapter) {
  return adapter < 0 || p.selection == nullptr ? adapter : p.selection[adapter];
}

// The tile of this number, 0 to row_tiles - 1; one beyond the last has no rows.
static __host__ __device__ __forceinline__ RowTileParams row_tile_of(const LoraParams &p,
                                                                     int32_t tile) {
  if (tile >= p.row_tiles) return {p.rows, 0, -1};
  int32_t low = 0;
  int32_t high = p.segment_count - 1;
  while (low < high) {
    const int32_t middle = (low + high + 1) / 2;
    if (p.segments[middle].first_tile <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const SegmentParams &s = p.segments[low];
  const int32_t begin = s.begin + (tile - s.first_tile) * kTileRows;
  return {begin, lesser(s.end - begin, kTileRows), selected(p, s.adapter)};
}

// Gives p the table's segments from *next on, as many as fit; false if there are none left. Those
// that follow each other with the same adapter are one, for each begins a tile of its own.
inline bool take_segments(const glance_adapter_table &table, int32_t *next, LoraParams *p) {
  p->segment_count = 0;
  p->row_tiles = 0;
  for (; *next < table.segment_count && p->segment_count < kMaxSegments; ++*next) {
    const glance_segment &s = table.segments[*next];
    if (s.begin == s.end) continue;
    const bool goes_on =
        p->segment_count > 0 && p->segments[p->segment_count - 1].adapter == s.adapter;
    if (!goes_on) {
      p->segments[p->segment_count++] = {static_cast<int32_t>(s.begin), 0, s.adapter, p->row_tiles};
    }
    SegmentParams &last = p->segments[p->segment_count - 1];
    last.end = static_cast<int32_t>(s.end);
    p->row_tiles = last.first_tile + (last.end - last.begin - 1) / kTileRows + 1;
  }
  return p->segment_count > 0;
}

// The value of y for a sum x W^T + h B^T at (row, column); gate and residual are of that place.
template <int kEpilogue>
static __host__ __device__ __forceinline__ float finished(float sum, float bias, float gate,
                                                          float residual) {
  const float s = sum + bias;
  if constexpr (kEpilogue == GLANCE_EPILOGUE_GELU_TANH) {
    return gelu_tanh(s);
  } else if constexpr (kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
    return gated_residual(residual, gate, s);
  } else {
    return s;
  }
}

}  // namespace glance
