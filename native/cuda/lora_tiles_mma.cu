// The products of lora_linear on CUDA, BF16 and F16, by mma.sync: from sm_80 (Ampere) on, and for
// what wgmma does not take.
//
// Formula: glance/lora_linear.h. x rows x K, W N x K, h rows x R, B N x rank, y rows x N. A block
// makes a tile of 128 x 128 outputs, or 64 x 64 where there are few; a warp 32 x 64 or 32 x 32 of
// it. Steps of 32 of K come through a ring of stages in shared memory by cp.async; the
// up-projection is more such steps, of h and B over the rank, in the same f32 sums. Every sum adds
// 16 products at a time, in the order of K and then of the rank, whichever tile it is in: a row's
// result does not depend on the others.
//
// x and h aligned to 16 bytes with strides of a multiple of 8 are copied 16 bytes at a time, and so
// are W and B, with K inside or, as training has them, N inside. Anything else goes element by
// element. Reads (128 + 128) * K * 2 bytes a tile, from the L2 cache where neighbours run at the
// same time, for 2 * 128 * 128 * K operations. Not measured yet.
#include "core/status.h"
#include "cuda/device.h"
#include "cuda/lora_load.h"
#include "cuda/lora_tiles.h"
#include "cuda/warp_store.h"

namespace glance {
namespace {

// Of K, in one instruction.
constexpr int kMmaDepth = 16;
// Accumulators below each other in a warp's part of the tile.
constexpr int kMmaRows = 16;
constexpr int kRowParts = kWarpRows / kMmaRows;
// Accumulators of 8 columns side by side.
template <int kTile>
constexpr int kColumnParts = kWarpColumns<kTile> / 8;

// A thread's sums: [rows][columns][as mma has them].
template <int kTile>
struct Sums {
  float of[kRowParts][kColumnParts<kTile>][4];
};

// The eight columns from 8 j on of a warp's part, of an operand in shared memory, and the next
// eight: K 0 to 7 and 8 to 15 of the former, then of the latter.
template <typename T, int kTile, bool kColumnsInside>
GLANCE_DEVICE void load_columns(uint32_t (&b)[4], const unsigned char *right, int first, int j,
                                int k, int lane) {
  if constexpr (kColumnsInside) {
    const unsigned char *row = right + k * kTile * static_cast<int>(sizeof(T));
    load_matrices_transposed(b, row + place<T, kTile>(lane % 16, first / 8 + j + lane / 16));
  } else {
    const unsigned char *row = right + 8 * j * kStepBytes;
    load_matrices(b,
                  row + place<T, kStep<T>>(first + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
  }
}

// Adds a step's products. place() is asked for a warp's first rows only, as those further down lie
// a constant behind: what is left to compute in the loop are additions.
template <typename T, int kTile, bool kColumnsInside>
GLANCE_DEVICE void multiply(const unsigned char *left, const unsigned char *right,
                            Sums<kTile> *sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first_row = warp / 2 * kWarpRows;
  const int first_column = warp % 2 * kWarpColumns<kTile>;
#pragma unroll
  for (int k = 0; k < kStep<T>; k += kMmaDepth) {
    uint32_t a[kRowParts][4];
#pragma unroll
    for (int i = 0; i < kRowParts; ++i) {
      load_matrices(a[i], left + i * kMmaRows * kStepBytes +
                              place<T, kStep<T>>(first_row + lane % 16, k / 8 + lane / 16));
    }
#pragma unroll
    for (int j = 0; j < kColumnParts<kTile>; j += 2) {
      uint32_t b[4];
      load_columns<T, kTile, kColumnsInside>(b, right, first_column, j, k, lane);
#pragma unroll
      for (int i = 0; i < kRowParts; ++i) {
        mma<T>(sums->of[i][j], a[i], b[0], b[1]);
        mma<T>(sums->of[i][j + 1], a[i], b[2], b[3]);
      }
    }
  }
}

template <typename T, int kTile>
GLANCE_DEVICE void store(const LoraParams &p, const OutputTile &tile, const Sums<kTile> &sums,
                         unsigned char *shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  unsigned char *staged = shared + warp * kStageBytesOfWarp;
#pragma unroll
  for (int i = 0; i < kRowParts; ++i) {
    float part[kColumnParts<kTile> * 4];
#pragma unroll
    for (int j = 0; j < kColumnParts<kTile> * 4; ++j) part[j] = sums.of[i][j / 4][j % 4];
    const int row = warp / 2 * kWarpRows + i * kMmaRows;
    const int count = tile.rows - row < kMmaRows ? tile.rows - row : kMmaRows;
    TileStore<T> to(p.linears[tile.linear], tile.row + row, count,
                    tile.column + warp % 2 * kWarpColumns<kTile>, staged, lane);
    to.begin();
    to.store(part);
  }
}

// Two blocks of 256 threads, or four of 128, on a multiprocessor: 128 registers a thread.
template <typename T, int kTile, bool kColumnsInside>
__global__ void __launch_bounds__(kTileThreads<kTile>, 512 / kTileThreads<kTile>)
    lora_tiles_mma_kernel(const __grid_constant__ LoraParams p) {
  const OutputTile tile = output_tile<kTile>(p);
  if (tile.rows <= 0) return;
  Sums<kTile> sums = {};
  sum_products<T, kTile, kColumnsInside>(p, tile, multiply<T, kTile, kColumnsInside>, &sums);
  // The kernel before this one may still read what y replaces.
  grid_dependency_wait();
  store<T, kTile>(p, tile, sums, shared_memory());
}

template <typename T>
glance_status launch_any(const LoraParams &p, cudaStream_t stream) noexcept {
  const bool columns_inside = has_columns_inside(p);
  if (is_large(p)) {
    return columns_inside ? launch_tiles<T, 128>(p, lora_tiles_mma_kernel<T, 128, true>, stream)
                          : launch_tiles<T, 128>(p, lora_tiles_mma_kernel<T, 128, false>, stream);
  }
  return columns_inside ? launch_tiles<T, 64>(p, lora_tiles_mma_kernel<T, 64, true>, stream)
                        : launch_tiles<T, 64>(p, lora_tiles_mma_kernel<T, 64, false>, stream);
}

}  // namespace

glance_status lora_tiles_mma(const LoraParams &params, glance_dtype dtype,
                             cudaStream_t stream) noexcept {
  switch (dtype) {
    case GLANCE_BF16:
      return launch_any<bf16>(params, stream);
    case GLANCE_F16:
      return launch_any<f16>(params, stream);
    default:
      return fail(GLANCE_INVALID_ARGUMENT, "lora_linear: mma.sync takes BF16 and F16, not dtype %d",
                  static_cast<int>(dtype));
  }
}

}  // namespace glance
