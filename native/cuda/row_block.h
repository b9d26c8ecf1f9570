// Rows in shared memory times A^T: what a block of modulated_norm does once its rows are there.
//
// A dot product does not care which k comes first, as long as y and A agree. So a lane reads 16
// bytes of a row, which are operands of two mma m16n8k16: of A from global memory, each once a
// block, and of y from shared memory. A's rows are the instruction's 16, y's its 8. The warps share
// K and their sums are added in one order, which depends on K alone: a row's h does not depend on
// the other rows.
#pragma once

#include <cstdint>

#include "cuda/lora_params.h"
#include "cuda/ptx.h"

namespace glance {

constexpr int kRowBlockWarps = 8;
constexpr int kRowBlockThreads = 32 * kRowBlockWarps;
constexpr int kRowTiles = 3;
constexpr int kMaxRowBlock = 8 * kRowTiles;

// One tile's sums of all warps: 16 rows of A x 8 rows of y.
constexpr int kTileSums = 16 * 8;
constexpr int kTileSumBytes = kRowBlockWarps * kTileSums * 4;

// Of K, in one step: four lanes' 16 bytes.
constexpr int kRowStep = 32;

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

GLANCE_DEVICE uint4 run_of(const void *a, bool inside) {
  return inside ? *static_cast<const uint4 *>(a) : make_uint4(0, 0, 0, 0);
}

// h's columns first to first + 16 kParts - 1 of these rows. If `last`, the rows are not needed
// afterwards.
template <typename T, int kParts>
GLANCE_DEVICE void project(const RowBlock &block, const BlockRows &rows, const DownParams &down,
                           int32_t first, bool last, T *h, int64_t h_stride) {
  // Runs of so many steps are loaded while as many are multiplied.
  constexpr int kAhead = kParts == 1 ? 4 : 1;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int own_row = lane / 4;
  const int own_chunk = lane % 4;
  const int steps = (block.k + kRowStep - 1) / kRowStep;
  const int begin = warp * steps / kRowBlockWarps;
  const int end = (warp + 1) * steps / kRowBlockWarps;

  // Rows beyond the last are the last: what comes of them is not stored.
  const T *a_rows[2 * kParts];
#pragma unroll
  for (int i = 0; i < 2 * kParts; ++i) {
    const int32_t row = first + own_row + 8 * i;
    a_rows[i] = static_cast<const T *>(down.a) +
                (row < down.r ? row : down.r - 1) * down.row_stride + own_chunk * 8;
  }
  const auto load = [&](uint4(&runs)[kAhead][2 * kParts], int step) {
#pragma unroll
    for (int s = 0; s < kAhead; ++s) {
      const int32_t k = (step + s) * kRowStep;
      const bool inside = step + s < end && k + own_chunk * 8 < block.k;
#pragma unroll
      for (int i = 0; i < 2 * kParts; ++i) runs[s][i] = run_of(a_rows[i] + k, inside);
    }
  };

  float sums[kParts][kRowTiles][4] = {};
  uint4 runs[kAhead][2 * kParts];
  load(runs, begin);
#pragma unroll 1
  for (int step = begin; step < end; step += kAhead) {
    uint4 next[kAhead][2 * kParts];
    load(next, step + kAhead);
#pragma unroll
    for (int s = 0; s < kAhead; ++s) {
      if (step + s < end) {
#pragma unroll
        for (int j = 0; j < kRowTiles; ++j) {
          const int32_t row = rows.begin + 8 * j + own_row;
          if (rows.begin + 8 * j >= rows.end) continue;
          const uint4 y = *reinterpret_cast<const uint4 *>(
              block.shared + chunk_place(row < rows.end ? row : rows.end - 1,
                                         (step + s) * 4 + own_chunk, block.row_bytes));
#pragma unroll
          for (int m = 0; m < kParts; ++m) {
            const uint4 low = runs[s][2 * m];
            const uint4 high = runs[s][2 * m + 1];
            const uint32_t former[4] = {low.x, high.x, low.y, high.y};
            const uint32_t latter[4] = {low.z, high.z, low.w, high.w};
            mma<T>(sums[m][j], former, y.x, y.y);
            mma<T>(sums[m][j], latter, y.z, y.w);
          }
        }
      }
    }
#pragma unroll
    for (int s = 0; s < kAhead; ++s) {
#pragma unroll
      for (int i = 0; i < 2 * kParts; ++i) runs[s][i] = next[s][i];
    }
  }

  // The tiles' sums are added in as many turns as there is room for: without the rows, one.
  const int32_t rows_size = block.rows * block.row_bytes;
  const int32_t room = last ? rows_size / kTileSumBytes + 1 : 1;
  auto *shared_sums = reinterpret_cast<float *>(block.shared + (last ? 0 : rows_size));
  if (last) block_sync();
  const int32_t tiles = kParts * ((rows.end - rows.begin + 7) / 8);
#pragma unroll 1
  for (int32_t from = 0; from < tiles; from += room) {
#pragma unroll
    for (int j = 0; j < kRowTiles; ++j) {
#pragma unroll
      for (int m = 0; m < kParts; ++m) {
        const int32_t slot = j * kParts + m - from;
        if (slot < 0 || slot >= room || slot + from >= tiles) continue;
        float *to =
            shared_sums + (slot * kRowBlockWarps + warp) * kTileSums + own_row * 8 + own_chunk * 2;
        to[0] = sums[m][j][0];
        to[1] = sums[m][j][1];
        to[64] = sums[m][j][2];
        to[65] = sums[m][j][3];
      }
    }
    block_sync();
    const int32_t count = (tiles - from < room ? tiles - from : room) * kTileSums;
#pragma unroll 1
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < count; i += kRowBlockThreads) {
      const int32_t tile = i / kTileSums + from;
      const int32_t row = rows.begin + tile / kParts * 8 + i % kTileSums / 16;
      const int32_t column = first + tile % kParts * 16 + i % 16;
      if (row >= rows.end || column >= down.r) continue;
      const float *all = shared_sums + i / kTileSums * kRowBlockWarps * kTileSums + i % 16 * 8 +
                         i % kTileSums / 16;
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < kRowBlockWarps; ++w) sum += all[w * kTileSums];
      h[row * h_stride + column] = from_f32<T>(down.scale * sum);
    }
    block_sync();
  }
}

// h of the block's rows, of which the first is row `first` of all; h is that row's. All are in
// shared memory.
template <typename T>
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
  for (int32_t begin = 0; begin < block.rows; ++low) {
    const SegmentParams &segment = p.segments[low];
    const int32_t left = segment.end - first;
    const BlockRows rows = {begin, left < block.rows ? left : block.rows};
    begin = rows.end;
    const int32_t adapter = selected(p, segment.adapter);
    if (adapter < 0) continue;
    const DownParams &down = p.down[adapter];
    for (int32_t column = 0; column < down.r; column += 32) {
      const bool last = rows.end == block.rows && column + 32 >= down.r;
      if (down.r - column > 16) {
        project<T, 2>(block, rows, down, column, last, h, p.h_stride);
      } else {
        project<T, 1>(block, rows, down, column, last, h, p.h_stride);
      }
    }
  }
}

}  // namespace glance
