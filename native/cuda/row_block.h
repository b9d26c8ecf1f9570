// Rows in shared memory times A^T: what a block of modulated_norm does once its rows are there.
//
// A dot product does not care which k comes first, as long as y and A agree. So a lane reads 16
// bytes of a row, which are operands of two mma m16n8k16: of A from global memory, each once a
// block, and of y from shared memory. A's rows are the instruction's 16, y's its 8. The warps share
// K and their sums are added in one order, which does not depend on the rows: nor does a row's h on
// the other rows.
#pragma once

#include <cstdint>

#include "cuda/lora_params.h"
#include "cuda/ptx.h"

namespace glance {

// A block's warps, its rows in eights, at most, and the steps of K whose part of A a warp loads at
// the same time, while it multiplies as many.
template <int kBlockWarps, int kRowTiles, int kStepsAhead>
struct RowBlockShape {
  static constexpr int kWarps = kBlockWarps;
  static constexpr int kAhead = kStepsAhead;
  static constexpr int kThreads = 32 * kBlockWarps;
  static constexpr int kTiles = kRowTiles;
  static constexpr int kMaxRows = 8 * kRowTiles;
  // Of a warp, for 16 rows of A and 8 of y.
  static constexpr int kSums = 16 * 8;
  static constexpr int kSumBytes = kBlockWarps * kSums * 4;
};

// Two on a multiprocessor, so that one can multiply while the other waits for its rows.
typedef RowBlockShape<8, 3, 4> TwoRowBlocks;
// One on a multiprocessor: A is read half as often.
typedef RowBlockShape<16, 5, 3> OneRowBlock;

// Of K, in one step: four lanes' 16 bytes.
constexpr int kRowStep = 32;
// Of A, at the same time.
constexpr int kAdapterRows = 16;

// Bytes of a row of 16-byte chunks in shared memory.
static __host__ __device__ __forceinline__ int32_t row_bytes(int64_t columns, int element_bytes) {
  return static_cast<int32_t>((columns * element_bytes + 127) / 128 * 128);
}

// Where a chunk of a row lies. The lanes of a quarter warp read four chunks of two rows that follow
// each other: exchanged in every other row they are in different banks.
static __device__ __forceinline__ int32_t chunk_place(int32_t row, int32_t chunk, int32_t bytes) {
  return row * bytes + (chunk ^ (row & 1) * 4) * 16;
}

// Rows begin to end - 1 of the block's, all of one adapter.
struct BlockRows {
  int32_t begin;
  int32_t end;
};

struct RowBlock {
  // The rows, then room for one tile's sums.
  unsigned char *shared;
  int32_t row_bytes;
  int32_t rows;
  // Elements of a row; what follows them up to row_bytes is zero.
  int32_t k;
};

// This lane's part of A in some steps: of two rows, eight apart.
template <int kSteps>
struct AdapterRuns {
  uint4 low[kSteps];
  uint4 high[kSteps];
};

// Those of the rows from `first` on, in the steps from `step` to `end` - 1. Rows beyond the last
// are the last: what comes of them is not stored.
template <typename T, int kSteps>
GLANCE_DEVICE AdapterRuns<kSteps> adapter_runs(const DownParams &down, int32_t first, int32_t k,
                                               int step, int end) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t low = first + lane / 4;
  const int32_t high = low + 8;
  const T *a = static_cast<const T *>(down.a) + lane % 4 * 8;
  const T *low_row = a + (low < down.r ? low : down.r - 1) * down.row_stride;
  const T *high_row = a + (high < down.r ? high : down.r - 1) * down.row_stride;
  AdapterRuns<kSteps> runs;
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const int32_t from = (step + s) * kRowStep;
    runs.low[s] = make_uint4(0, 0, 0, 0);
    runs.high[s] = make_uint4(0, 0, 0, 0);
    if (step + s < end && from + lane % 4 * 8 < k) {
      runs.low[s] = *reinterpret_cast<const uint4 *>(low_row + from);
      runs.high[s] = *reinterpret_cast<const uint4 *>(high_row + from);
    }
  }
  return runs;
}

// Adds all warps' sums for the adapter's rows from `first` on and stores them. They take turns in
// as many tiles as there is room for: if the block's rows are not needed any more, in all.
template <typename T, typename Shape>
GLANCE_DEVICE void store_sums(const RowBlock &block, const BlockRows &rows, const DownParams &down,
                              int32_t first, bool rows_done, const float (&sums)[Shape::kTiles][4],
                              T *h, int64_t h_stride) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t rows_size = block.rows * block.row_bytes;
  const int32_t room = rows_done ? rows_size / Shape::kSumBytes + 1 : 1;
  auto *shared = reinterpret_cast<float *>(block.shared + (rows_done ? 0 : rows_size));
  if (rows_done) block_sync();
  const int32_t tiles = (rows.end - rows.begin + 7) / 8;
#pragma unroll 1
  for (int32_t from = 0; from < tiles; from += room) {
    // The turn before has been read.
    if (from > 0) block_sync();
#pragma unroll
    for (int j = 0; j < Shape::kTiles; ++j) {
      if (j < from || j >= from + room || j >= tiles) continue;
      float *to = shared + ((j - from) * Shape::kWarps + warp) * Shape::kSums + lane * 2;
      to[0] = sums[j][0];
      to[1] = sums[j][1];
      to[64] = sums[j][2];
      to[65] = sums[j][3];
    }
    block_sync();
    const int32_t count = (tiles - from < room ? tiles - from : room) * Shape::kSums;
#pragma unroll 1
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count; i += Shape::kThreads) {
      const int32_t tile = i / Shape::kSums;
      const int32_t row = rows.begin + (from + tile) * 8 + i % Shape::kSums / kAdapterRows;
      const int32_t column = first + i % kAdapterRows;
      if (row >= rows.end || column >= down.r) continue;
      const float *of_warp = shared + tile * Shape::kWarps * Shape::kSums + i % kAdapterRows * 8 +
                             i % Shape::kSums / kAdapterRows;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < Shape::kWarps; ++w) sum += of_warp[w * Shape::kSums];
      h[row * h_stride + column] = from_f32<T>(down.scale * sum);
    }
  }
}

// h of rows that have one adapter. If `last`, no more of the block's rows follow.
template <typename T, typename Shape>
GLANCE_DEVICE void project(const RowBlock &block, const BlockRows &rows, const DownParams &down,
                           bool last, T *h, int64_t h_stride) {
  constexpr int kAhead = Shape::kAhead;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int steps = (block.k + kRowStep - 1) / kRowStep;
  const int begin = warp * steps / Shape::kWarps;
  const int end = (warp + 1) * steps / Shape::kWarps;
  AdapterRuns<kAhead> runs = adapter_runs<T, kAhead>(down, 0, block.k, begin, end);
#pragma unroll 1
  for (int32_t first = 0; first < down.r; first += kAdapterRows) {
    // The rows are there; the sums before these have been read.
    block_sync();
    float sums[Shape::kTiles][4] = {};
    int step = begin;
#pragma unroll 1
    do {
      const bool more = step + kAhead < end;
      const AdapterRuns<kAhead> next = adapter_runs<T, kAhead>(
          down, more ? first : first + kAdapterRows, block.k, more ? step + kAhead : begin, end);
#pragma unroll
      for (int s = 0; s < kAhead; ++s) {
        if (step + s >= end) continue;
        const uint32_t former[4] = {runs.low[s].x, runs.high[s].x, runs.low[s].y, runs.high[s].y};
        const uint32_t latter[4] = {runs.low[s].z, runs.high[s].z, runs.low[s].w, runs.high[s].w};
#pragma unroll
        for (int j = 0; j < Shape::kTiles; ++j) {
          const int32_t row = rows.begin + 8 * j + lane / 4;
          if (rows.begin + 8 * j >= rows.end) continue;
          const uint4 y = *reinterpret_cast<const uint4 *>(
              block.shared + chunk_place(row < rows.end ? row : rows.end - 1,
                                         (step + s) * 4 + lane % 4, block.row_bytes));
          mma<T>(sums[j], former, y.x, y.y);
          mma<T>(sums[j], latter, y.z, y.w);
        }
      }
      runs = next;
      step += kAhead;
    } while (step < end);
    store_sums<T, Shape>(block, rows, down, first, last && first + kAdapterRows >= down.r, sums, h,
                         h_stride);
  }
}

// h of the block's rows, of which the first is row `first` of all; h is that row's. The rows are
// waited for.
template <typename T, typename Shape>
GLANCE_DEVICE void project_rows(const LoraParams &p, const RowBlock &block, int32_t first, T *h) {
  int32_t low = 0;
  int32_t high = p.segment_count - 1;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (p.segments[middle].end <= first) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
#pragma unroll 1
  for (int32_t begin = 0; begin < block.rows; ++low) {
    const SegmentParams &segment = p.segments[low];
    const int32_t left = segment.end - first;
    const BlockRows rows = {begin, left < block.rows ? left : block.rows};
    begin = rows.end;
    const int32_t adapter = selected(p, segment.adapter);
    if (adapter < 0) continue;
    project<T, Shape>(block, rows, p.down[adapter], rows.end == block.rows, h, p.h_stride);
  }
}

}  // namespace glance
