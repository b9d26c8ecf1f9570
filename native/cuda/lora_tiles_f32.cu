// The products of lora_linear on CUDA, F32, by fused multiply-adds.
//
// Formula: glance/lora_linear.h. x rows x K, W N x K, h rows x R, B N x rank, y rows x N. A block
// makes a tile of 128 x 128 outputs, or 64 x 64 where there are few; a thread 8 x 8 or 8 x 4 of it.
// Steps of 16 of K come through a ring of stages in shared memory by cp.async; the up-projection is
// more such steps, of h and B over the rank, in the same f32 sums. Every sum adds one product after
// the other, in the order of K and then of the rank, whichever tile it is in: a row's result does
// not depend on the others.
//
// x and h aligned to 16 bytes with strides of a multiple of 4 are copied 16 bytes at a time, and so
// are W and B, with K inside or, as training has them, N inside. Anything else goes element by
// element. Reads (128 + 128) * K * 4 bytes a tile, from the L2 cache where neighbours run at the
// same time, for 2 * 128 * 128 * K operations. Not measured yet.
#include <cmath>

#include "cuda/device.h"
#include "cuda/lora_load.h"
#include "cuda/lora_tiles.h"

namespace glance {
namespace {

// A warp's threads, 4 below each other and 8 side by side, have runs of 4 x 4 outputs each, with a
// warp's other runs between a thread's: 16 rows and 32 columns further.
constexpr int kSide = kRun<float>;
constexpr int kLanesAcross = 8;
constexpr int kNextRows = 32 / kLanesAcross * kSide;
constexpr int kNextColumns = kLanesAcross * kSide;
constexpr int kRows = kWarpRows / kNextRows * kSide;
template <int kTile>
constexpr int kColumns = kWarpColumns<kTile> / kNextColumns *kSide;

template <int kTile>
struct Sums {
  float of[kRows][kColumns<kTile>];
};

// This thread's row or column number i of a tile, i from 0 to kRows - 1 or kColumns - 1.
GLANCE_DEVICE int own_row(int i) {
  const int thread = static_cast<int>(threadIdx.x);
  return thread / 64 * kWarpRows + i / kSide * kNextRows + thread % 32 / kLanesAcross * kSide +
         i % kSide;
}
template <int kTile>
GLANCE_DEVICE int own_column(int j) {
  const int thread = static_cast<int>(threadIdx.x);
  return thread / 32 % 2 * kWarpColumns<kTile> + j / kSide * kNextColumns +
         thread % kLanesAcross * kSide + j % kSide;
}

// Of K, what is held in registers at a time. With a whole run of 4, or with the loop over K
// unrolled, 64 sums and both operands do not fit in 128 of them.
constexpr int kDepth = 2;
struct alignas(8) Two {
  float v[kDepth];
};

// Elements k and k + 1 of a row of an operand with K inside.
GLANCE_DEVICE Two two_at(const unsigned char *tile, int row, int k) {
  const unsigned char *run = tile + place<float, kStep<float>>(row, k / kSide);
  return reinterpret_cast<const Two *>(run)[k % kSide / kDepth];
}

// Adds a step's products.
template <int kTile, bool kColumnsInside>
GLANCE_DEVICE void multiply(const unsigned char *left, const unsigned char *right,
                            Sums<kTile> *sums) {
#pragma unroll 1
  for (int k = 0; k < kStep<float>; k += kDepth) {
    Two a[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) a[i] = two_at(left, own_row(i), k);
#pragma unroll
    for (int j = 0; j < kColumns<kTile>; j += kSide) {
      // [k][column]
      float b[kDepth][kSide];
#pragma unroll
      for (int n = 0; n < (kColumnsInside ? kDepth : kSide); ++n) {
        if constexpr (kColumnsInside) {
          const int at = place<float, kTile>(k + n, own_column<kTile>(j) / kSide);
          const Run<float> run = *reinterpret_cast<const Run<float> *>(right + at);
#pragma unroll
          for (int c = 0; c < kSide; ++c) b[n][c] = run.v[c];
        } else {
          const Two two = two_at(right, own_column<kTile>(j + n), k);
#pragma unroll
          for (int d = 0; d < kDepth; ++d) b[d][n] = two.v[d];
        }
      }
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int c = 0; c < kSide; ++c) {
            sums->of[i][j + c] = fmaf(a[i].v[d], b[d][c], sums->of[i][j + c]);
          }
        }
      }
    }
  }
}

// kSide elements behind data, of which there are only `left`; null is zeros.
GLANCE_DEVICE Run<float> read(const void *data, int64_t offset, int left, bool aligned) {
  Run<float> run = {};
  if (data == nullptr) return run;
  const float *from = static_cast<const float *>(data) + offset;
  if (aligned && left >= kSide) return *reinterpret_cast<const Run<float> *>(from);
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
    if (i < left) run.v[i] = from[i];
  }
  return run;
}

GLANCE_DEVICE bool stored_in_runs(const LinearParams &l) {
  const bool gated = l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
  return in_runs<float>(l.y, l.y_stride) && in_runs<float>(l.bias, 0) &&
         (!gated ||
          (in_runs<float>(l.gate, l.gate_stride) && in_runs<float>(l.residual, l.residual_stride)));
}

template <int kEpilogue, int kTile>
GLANCE_DEVICE void store_as(const LinearParams &l, const OutputTile &tile,
                            const Sums<kTile> &sums) {
  constexpr bool kGated = kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
  const bool aligned = stored_in_runs(l);
#pragma unroll
  for (int j = 0; j < kColumns<kTile>; j += kSide) {
    const int left = l.n - tile.column - own_column<kTile>(j);
    if (left <= 0) return;
    const int column = tile.column + own_column<kTile>(j);
    const Run<float> bias = read(l.bias, column, left, aligned);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (own_row(i) >= tile.rows) continue;
      const int64_t row = tile.row + own_row(i);
      Run<float> gate = {};
      Run<float> residual = {};
      if constexpr (kGated) {
        gate = read(l.gate, row / l.rows_per_gate * l.gate_stride + column, left, aligned);
        residual = read(l.residual, row * l.residual_stride + column, left, aligned);
      }
      Run<float> y;
#pragma unroll
      for (int c = 0; c < kSide; ++c) {
        y.v[c] = finished<kEpilogue>(sums.of[i][j + c], bias.v[c], gate.v[c], residual.v[c]);
      }
      float *to = static_cast<float *>(l.y) + row * l.y_stride + column;
      if (aligned && left >= kSide) {
        *reinterpret_cast<Run<float> *>(to) = y;
      } else {
#pragma unroll
        for (int c = 0; c < kSide; ++c) {
          if (c < left) to[c] = y.v[c];
        }
      }
    }
  }
}

template <int kTile>
GLANCE_DEVICE void store(const LoraParams &p, const OutputTile &tile, const Sums<kTile> &sums) {
  const LinearParams &l = p.linears[tile.linear];
  switch (l.epilogue) {
    case GLANCE_EPILOGUE_GELU_TANH:
      return store_as<GLANCE_EPILOGUE_GELU_TANH>(l, tile, sums);
    case GLANCE_EPILOGUE_GATED_RESIDUAL:
      return store_as<GLANCE_EPILOGUE_GATED_RESIDUAL>(l, tile, sums);
    default:
      return store_as<GLANCE_EPILOGUE_NONE>(l, tile, sums);
  }
}

// Two blocks of 256 threads, or four of 128, on a multiprocessor: 128 registers a thread.
template <int kTile, bool kColumnsInside>
__global__ void __launch_bounds__(kTileThreads<kTile>, 512 / kTileThreads<kTile>)
    lora_tiles_f32_kernel(const __grid_constant__ LoraParams p) {
  const OutputTile tile = output_tile<kTile>(p);
  if (tile.rows <= 0) return;
  Sums<kTile> sums = {};
  sum_products<float, kTile, kColumnsInside>(p, tile, multiply<kTile, kColumnsInside>, &sums);
  // The kernel before this one may still read what y replaces.
  grid_dependency_wait();
  store(p, tile, sums);
}

}  // namespace

glance_status lora_tiles_f32(const LoraParams &params, cudaStream_t stream) noexcept {
  const bool columns_inside = has_columns_inside(params);
  if (is_large(params)) {
    return columns_inside
               ? launch_tiles<float, 128>(params, lora_tiles_f32_kernel<128, true>, stream)
               : launch_tiles<float, 128>(params, lora_tiles_f32_kernel<128, false>, stream);
  }
  return columns_inside ? launch_tiles<float, 64>(params, lora_tiles_f32_kernel<64, true>, stream)
                        : launch_tiles<float, 64>(params, lora_tiles_f32_kernel<64, false>, stream);
}

}  // namespace glance
