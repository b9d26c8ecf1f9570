// Products over rows on CUDA.
//
// Formula: out = p^T q, or out + p^T q. p rows x rank, a projection; q rows x columns; out rank x
// columns in f32. A block takes 128 columns, 32 or 64 of the rank and a chunk of the rows, which
// come through a ring of stages in shared memory; the chunks' sums go to `partial`, and a second
// kernel adds them in their order. Chunks depend on the number of rows alone. Sums in f32, by
// mma.sync for BF16 and F16, by fused multiply-adds for F32.
//
// q aligned to 16 bytes with a stride of a multiple of that is copied 16 bytes at a time, anything
// else element by element. At 4608 x 3072, rank 16 and BF16 it reads 28 MB of q for 0.45 GFLOP, and
// writes and reads 1.6 MB of partial sums: bound by memory. Not measured yet.
#include <algorithm>

#include "cuda/device.h"
#include "cuda/lora_load.h"
#include "cuda/ptx.h"
#include "cuda/row_products.h"

namespace glance {
namespace {

// 4608 rows x 3072 columns make 192 blocks, two of which fit on a multiprocessor.
constexpr int kMaxChunks = 8;
// Fewer rows are not worth another sum in the workspace.
constexpr int64_t kMinChunkRows = 256;

constexpr int kThreads = 256;
// Of x or dy, of a block: each warp has an eighth of them.
constexpr int kColumns = 128;
constexpr int kWarpColumns = kColumns / (kThreads / 32);
// Of x or dy and the projection, in a stage.
template <typename T>
constexpr int kStageRows = 128 / static_cast<int>(sizeof(T));
template <int kRanks>
constexpr int kStageBytes = 128 * (kColumns + kRanks);
constexpr int kStages = 4;

// What the kernels get: the products, and how their rows are cut. partial is chunks x rank x
// columns.
struct Params {
  RowProducts products;
  int32_t chunks;
  int64_t chunk_rows;
};

// What a block makes: rank x columns from these on, of as many as there are.
struct Place {
  int32_t rank;
  int32_t column;
  int32_t ranks;
  int32_t columns;
  float *partial;
  int32_t stride;

  __device__ void store(int i, int j, float sum) const {
    if (i < ranks && j < columns) partial[int64_t{i} * stride + j] = sum;
  }
};

// BF16 and F16. A warp has all of the block's ranks, in parts of 16, and 16 of its columns.
template <typename T, int kRanks>
struct Sums {
  float of[kRanks / 16][kWarpColumns / 8][4] = {};

  // p and q: kStageRows rows in shared memory.
  __device__ __forceinline__ void add(const unsigned char *p, const unsigned char *q) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = static_cast<int>(threadIdx.x) / 32 * kWarpColumns;
#pragma unroll
    for (int row = 0; row < kStageRows<T>; row += 16) {
      uint32_t b[4];
      load_matrices_transposed(b, q + place<T, kColumns>(row + lane % 16, column / 8 + lane / 16));
#pragma unroll
      for (int i = 0; i < kRanks / 16; ++i) {
        uint32_t a[4];
        load_matrices_transposed(
            a, p + place<T, kRanks>(row + lane / 16 * 8 + lane % 8, 2 * i + lane / 8 % 2));
        mma<T>(of[i][0], a, b[0], b[1]);
        mma<T>(of[i][1], a, b[2], b[3]);
      }
    }
  }

  __device__ __forceinline__ void store(const Place &to) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = static_cast<int>(threadIdx.x) / 32 * kWarpColumns + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kRanks / 16; ++i) {
#pragma unroll
      for (int j = 0; j < kWarpColumns / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          to.store(16 * i + lane / 4 + e / 2 * 8, column + 8 * j + e % 2, of[i][j][e]);
        }
      }
    }
  }
};

// F32. A thread has a quarter of the ranks and two columns, half the block's columns apart.
template <int kRanks>
struct Sums<float, kRanks> {
  static constexpr int kHalf = kColumns / 2;
  static constexpr int kOwn = kRanks / (kThreads / kHalf);
  float of[kOwn][2] = {};

  __device__ __forceinline__ void add(const unsigned char *p, const unsigned char *q) {
    const int column = static_cast<int>(threadIdx.x) % kHalf;
    const int rank = static_cast<int>(threadIdx.x) / kHalf * kOwn;
#pragma unroll 2
    for (int row = 0; row < kStageRows<float>; ++row) {
      float right[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int chunk = (column + j * kHalf) / 4;
        const unsigned char *run = q + place<float, kColumns>(row, chunk);
        right[j] = reinterpret_cast<const Run<float> *>(run)->v[column % 4];
      }
#pragma unroll
      for (int i = 0; i < kOwn; i += 4) {
        const auto left =
            *reinterpret_cast<const Run<float> *>(p + place<float, kRanks>(row, (rank + i) / 4));
#pragma unroll
        for (int e = 0; e < 4; ++e) {
#pragma unroll
          for (int j = 0; j < 2; ++j) of[i + e][j] += left.v[e] * right[j];
        }
      }
    }
  }

  __device__ __forceinline__ void store(const Place &to) const {
    const int column = static_cast<int>(threadIdx.x) % kHalf;
    const int rank = static_cast<int>(threadIdx.x) / kHalf * kOwn;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      to.store(rank + i, column, of[i][0]);
      to.store(rank + i, column + kHalf, of[i][1]);
    }
  }
};

template <typename T, int kRanks>
__global__ void __launch_bounds__(kThreads, 2) row_products(const Params params) {
  const RowProducts &a = params.products;
  const int32_t column = static_cast<int32_t>(blockIdx.x) * kColumns;
  const int32_t rank = static_cast<int32_t>(blockIdx.z) * kRanks;
  const int64_t begin = blockIdx.y * params.chunk_rows;
  const int64_t left = a.rows - begin;
  const auto rows = static_cast<int32_t>(left < params.chunk_rows ? left : params.chunk_rows);
  Source<T> p(static_cast<const T *>(a.p) + begin * a.p_stride + rank, a.p_stride, 1, rows,
              a.rank - rank);
  Source<T> q(static_cast<const T *>(a.q) + begin * a.q_stride + column, a.q_stride, 1, rows,
              a.columns - column);

  constexpr int kRows = kStageRows<T>;
  constexpr int kAhead = kStages - 1;
  constexpr int kProjectionBytes = 128 * kRanks;
  unsigned char *shared = shared_memory();
  Sums<T, kRanks> sums;
  const int steps = (rows - 1) / kRows + 1;
#pragma unroll 1
  for (int step = -kAhead; step < steps; ++step) {
    if (step >= 0) {
      copy_async_wait<kAhead - 1>();
      // The stage to be loaded is the one that all threads used in the step before.
      block_sync();
    }
    if (step + kAhead < steps) {
      unsigned char *stage = shared + (step + kAhead) % kStages * kStageBytes<kRanks>;
      load_tile<kRows, kRanks, kThreads>(p, stage);
      load_tile<kRows, kColumns, kThreads>(q, stage + kProjectionBytes);
      p.first += kRows * p.outer_stride;
      p.outer_limit -= kRows;
      q.first += kRows * q.outer_stride;
      q.outer_limit -= kRows;
    }
    copy_async_commit();
    if (step >= 0) {
      const unsigned char *stage = shared + step % kStages * kStageBytes<kRanks>;
      sums.add(stage, stage + kProjectionBytes);
    }
  }
  const int64_t first = (int64_t{blockIdx.y} * a.rank + rank) * a.columns + column;
  sums.store({rank, column, a.rank - rank, a.columns - column, a.partial + first, a.columns});
}

// One thread an output.
__global__ void __launch_bounds__(kThreads) sum_chunks(const Params params) {
  const RowProducts &a = params.products;
  const int64_t count = int64_t{a.rank} * a.columns;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= count) return;
  float sum = 0.0f;
  for (int32_t chunk = 0; chunk < params.chunks; ++chunk) sum += a.partial[chunk * count + index];
  float *out = a.out + index / a.columns * a.rank_stride + index % a.columns * a.column_stride;
  *out = a.accumulate ? *out + sum : sum;
}

template <typename T>
cudaError_t launch_products(const Params &p, cudaStream_t stream) noexcept {
  const bool few = p.products.rank <= 32;
  const int ranks = few ? 32 : 64;
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>((p.products.columns - 1) / kColumns + 1),
                    static_cast<unsigned>(p.chunks),
                    static_cast<unsigned>((p.products.rank - 1) / ranks + 1));
  shape.block = dim3(kThreads);
  shape.shared_bytes = kStages * (few ? kStageBytes<32> : kStageBytes<64>);
  return launch(shape, stream, few ? row_products<T, 32> : row_products<T, 64>, p);
}

cudaError_t launch_products(const Params &p, glance_dtype dtype, cudaStream_t stream) noexcept {
  if (dtype == GLANCE_F32) return launch_products<float>(p, stream);
  if (dtype == GLANCE_BF16) return launch_products<bf16>(p, stream);
  return launch_products<f16>(p, stream);
}

int64_t chunk_rows(int64_t rows) noexcept {
  return std::max((rows - 1) / kMaxChunks + 1, kMinChunkRows);
}

int64_t chunk_count(int64_t rows) noexcept { return (rows - 1) / chunk_rows(rows) + 1; }

}  // namespace

int64_t partial_bytes(int64_t rows, int64_t rank, int64_t columns) noexcept {
  return chunk_count(rows) * rank * columns * static_cast<int64_t>(sizeof(float));
}

glance_status row_products_cuda(const RowProducts &products, glance_dtype dtype,
                                cudaStream_t stream) noexcept {
  const Params params = {products, static_cast<int32_t>(chunk_count(products.rows)),
                         chunk_rows(products.rows)};
  cudaError_t error = launch_products(params, dtype, stream);
  if (error == cudaSuccess) {
    const int64_t outputs = int64_t{products.rank} * products.columns;
    LaunchShape shape;
    shape.grid = dim3(static_cast<unsigned>((outputs - 1) / kThreads + 1));
    shape.block = dim3(kThreads);
    error = launch(shape, stream, sum_chunks, params);
  }
  return cuda_status("row_products: launch", error);
}

}  // namespace glance
