// Down-projections x A^T on CUDA.
//
// Formula: h = scale * (x A^T). x rows x K, A R x K, h rows x R, for the rows whose segment has an
// adapter. A block makes 32 rows of 16, 32 or 64 columns; its eight warps share K in blocks
// of 64 bytes of which each takes every eighth, and their sums are added in one order. That order
// depends on K alone: a row's result does not depend on the other rows or on the columns of a
// block. Sums in f32; h is rounded once.
//
// BF16 and F16, by mma.sync: a dot product does not care which k comes first, as long as x and A
// agree. So a lane's 16 bytes of a row are operands of two instructions as they come, and a lane
// reads back from shared memory only what it copied there itself: the ring of stages needs no
// barrier. F32, by fused multiply-adds, has lanes of a warp read each other's. x and A are copied
// by cp.async where they are aligned to 16 bytes with K inside and rows at a multiple of that,
// element by element elsewhere.
//
// Bound by memory: at 4608 x 3072 and R = 16 it reads 28 MB of x once, for 0.45 GFLOP, while the
// blocks' 98 KB of A each come from the L2 cache. Not measured yet.
#include "cuda/device.h"
#include "cuda/down_projection.h"
#include "cuda/lora_load.h"
#include "cuda/ptx.h"

namespace glance {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
// 4608 rows make 144 blocks, which large devices (108 to 144 multiprocessors) run all at once.
constexpr int kRows = 32;
// Of K, in a stage of a warp: 16 bytes of each of four lanes.
template <typename T>
constexpr int kDepth = 4 * kRun<T>;
// A lane copies of each eighth row.
constexpr int kRowRuns = kRows / 8;

// A block has kTiles times 16 columns. More of them read x less often, but leave less room for
// stages: up to 96 KB, so that two blocks or more fit on a multiprocessor of sm_90, and of sm_80
// where there are up to 32 columns.
template <int kTiles>
constexpr int kStages = kTiles == 1 ? 3 : 2;

// More than half of a multiprocessor's shared memory, on sm_90: a block of this has it to itself.
constexpr size_t kWholeBytes = 116 << 10;
template <int kTiles>
constexpr int kColumnRuns = 2 * kTiles;
template <int kTiles>
constexpr int kStageRuns = (kRowRuns + kColumnRuns<kTiles>)*32;
template <int kTiles>
constexpr int kRingBytes = kWarps *kStages<kTiles> *kStageRuns<kTiles> * 16;

// Floats from one row of a warp's sums to the next: without bank conflicts.
template <int kTiles>
constexpr int kSumStride = 16 * kTiles + 4;
template <int kTiles>
constexpr int kWarpSums = kRows *kSumStride<kTiles>;
static_assert(kWarps * kWarpSums<1> * 4 <= kRingBytes<1>);
static_assert(kWarps * kWarpSums<2> * 4 <= kRingBytes<2>);
static_assert(kWarps * kWarpSums<4> * 4 <= kRingBytes<4>);

// What a block makes at a time: rows, and the columns of h from `column` on.
struct Part {
  int32_t row;
  int32_t rows;
  int32_t column;
  // Of the adapter from there on; 0 or less: there is nothing to do.
  int32_t columns;
  const DownParams *down;
};

constexpr int kPartsOfTile = kTileRows / kRows;

template <int kColumns>
GLANCE_DEVICE Part part_at(const LoraParams &p, int32_t index) {
  const RowTileParams tile = row_tile_of(p, index / kPartsOfTile);
  const int32_t skipped = index % kPartsOfTile * kRows;
  const int32_t left = tile.count - skipped;
  const int32_t column = static_cast<int32_t>(blockIdx.y) * kColumns;
  if (left <= 0 || tile.adapter < 0) return {0, 0, 0, 0, nullptr};
  const DownParams &down = p.down[tile.adapter];
  return {tile.begin + skipped, left < kRows ? left : kRows, column, down.r - column, &down};
}

template <typename T>
GLANCE_DEVICE Source<T> x_of(const LoraParams &p, const Part &block) {
  const T *first = static_cast<const T *>(p.x) + block.row * p.x_stride;
  return Source<T>(first, p.x_stride, 1, block.rows, p.k);
}
template <typename T>
GLANCE_DEVICE Source<T> a_of(const LoraParams &p, const Part &block) {
  const DownParams &d = *block.down;
  const T *first = static_cast<const T *>(d.a) + block.column * d.row_stride;
  return Source<T>(first, d.row_stride, d.column_stride, block.columns, p.k);
}

// Elements that do not lie side by side, or not at a multiple of 16 bytes.
template <typename T>
GLANCE_DEVICE Run<T> gathered(const T *from, int64_t step, int count) {
  Run<T> run = {};
#pragma unroll
  for (int e = 0; e < kRun<T>; ++e) {
    if (e < count) run.v[e] = from[e * step];
  }
  return run;
}

// The runs that a lane copies, of every eighth row. Few registers: the sums need theirs.
template <typename T>
struct Runs {
  const T *from;
  int64_t row_stride;
  int64_t step;
  // How many rows there are from this lane's first on.
  int32_t rows;
  bool aligned;

  __device__ Runs(const Source<T> &s, int row, int k)
      : from(s.first + row * s.outer_stride + k * s.inner_stride),
        row_stride(s.outer_stride),
        step(s.inner_stride),
        rows(s.outer_limit - row),
        aligned(s.aligned) {}

  // Copies kCount of them with this many elements, 32 runs apart in shared memory, and goes on to
  // the warp's next block of K.
  template <int kCount>
  __device__ __forceinline__ void copy(int elements, Run<T> *to) {
    const T *row = from;
    if (aligned) {
#pragma unroll
      for (int i = 0; i < kCount; ++i, row += 8 * row_stride) {
        copy_async_16(to + 32 * i, row, 8 * i < rows ? elements * static_cast<int>(sizeof(T)) : 0);
      }
    } else {
#pragma unroll(kCount <= 4 ? 2 : 1)
      for (int i = 0; i < kCount; ++i, row += 8 * row_stride) {
        to[32 * i] = gathered(row, step, 8 * i < rows ? elements : 0);
      }
    }
    from += kWarps * kDepth<T> * step;
  }
};

// A warp's sums: 32 rows, 16 kTiles columns. Of a stage, run (i * 8 + row % 8) * 4 + chunk is the
// chunk's 16 bytes of row 8 i + row % 8 of x; those of A follow.
//
// BF16 and F16: columns are the instruction's rows, so that what a lane holds of x, which all
// instructions read, is in the order of its operand.
template <typename T, int kTiles>
struct Sums {
  float of[kTiles][kRowRuns][4] = {};

  __device__ __forceinline__ void add(const Run<T> *stage, int lane) {
    struct alignas(16) Words {
      uint32_t v[4];
    };
    const auto *own = reinterpret_cast<const Words *>(stage + lane);
    Words rows[kRowRuns];
#pragma unroll
    for (int i = 0; i < kRowRuns; ++i) rows[i] = own[i * 32];
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
      const Words low = own[(kRowRuns + 2 * j) * 32];
      const Words high = own[(kRowRuns + 2 * j + 1) * 32];
#pragma unroll
      for (int half = 0; half < 4; half += 2) {
        const uint32_t columns[4] = {low.v[half], high.v[half], low.v[half + 1], high.v[half + 1]};
#pragma unroll
        for (int i = 0; i < kRowRuns; ++i) {
          mma<T>(of[j][i], columns, rows[i].v[half], rows[i].v[half + 1]);
        }
      }
    }
  }

  __device__ __forceinline__ void store(float *shared, int lane) const {
#pragma unroll
    for (int j = 0; j < kTiles; ++j) {
#pragma unroll
      for (int i = 0; i < kRowRuns; ++i) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = 8 * i + lane % 4 * 2 + e % 2;
          shared[row * kSumStride<kTiles> + 16 * j + lane / 4 + e / 2 * 8] = of[j][i][e];
        }
      }
    }
  }
};

// F32: a lane has rows lane / 4 + 8 i and columns lane % 4 + 4 j.
template <int kTiles>
struct Sums<float, kTiles> {
  float of[kRowRuns][4 * kTiles] = {};

  __device__ __forceinline__ void add(const Run<float> *stage, int lane) {
    // The other lanes' copies are there as well.
    warp_sync();
// More at once would take more registers.
#pragma unroll 2
    for (int chunk = 0; chunk < 4; ++chunk) {
      Run<float> rows[kRowRuns];
#pragma unroll
      for (int i = 0; i < kRowRuns; ++i) rows[i] = stage[i * 32 + lane / 4 * 4 + chunk];
#pragma unroll
      for (int j = 0; j < 4 * kTiles; ++j) {
        const int column = lane % 4 + 4 * j;
        const Run<float> a = stage[kRowRuns * 32 + column * 4 + chunk];
#pragma unroll
        for (int e = 0; e < kRun<float>; ++e) {
#pragma unroll
          for (int i = 0; i < kRowRuns; ++i) of[i][j] += rows[i].v[e] * a.v[e];
        }
      }
    }
    // And may be overwritten.
    warp_sync();
  }

  __device__ __forceinline__ void store(float *shared, int lane) const {
#pragma unroll
    for (int i = 0; i < kRowRuns; ++i) {
#pragma unroll
      for (int j = 0; j < 4 * kTiles; ++j) {
        shared[(lane / 4 + 8 * i) * kSumStride<kTiles> + lane % 4 + 4 * j] = of[i][j];
      }
    }
  }
};

// Adds the sums of all warps, which are in shared memory, and stores them.
template <typename T, int kTiles>
GLANCE_DEVICE void store_h(const LoraParams &p, const Part &block) {
  constexpr int kColumns = 16 * kTiles;
  const auto *sums = reinterpret_cast<const float *>(shared_memory());
  T *h = static_cast<T *>(p.h) + block.row * p.h_stride + block.column;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kColumns; i += kThreads) {
    const int row = i / kColumns;
    const int column = i % kColumns;
    if (row >= block.rows || column >= block.columns) continue;
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      sum += sums[warp * kWarpSums<kTiles> + row * kSumStride<kTiles> + column];
    }
    h[row * p.h_stride + column] = from_f32<T>(block.down->scale * sum);
  }
}

template <typename T, int kTiles>
GLANCE_DEVICE void project(const LoraParams &p, const Part &block) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_k = warp * kDepth<T> + lane % 4 * kRun<T>;
  Runs<T> x(x_of<T>(p, block), lane / 4, first_k);
  Runs<T> a(a_of<T>(p, block), lane / 4, first_k);

  Run<T> *ring =
      reinterpret_cast<Run<T> *>(shared_memory()) + warp * kStages<kTiles> * kStageRuns<kTiles>;
  Sums<T, kTiles> sums;
  constexpr int kAhead = kStages<kTiles> - 1;
  const int turns = (p.k - 1) / (kWarps * kDepth<T>)+1;
  int used = 0;
#pragma unroll 1
  for (int turn = -kAhead; turn < turns; ++turn) {
    if (turn + kAhead < turns) {
      const int loaded = used == 0 ? kAhead : used - 1;
      Run<T> *own = ring + loaded * kStageRuns<kTiles> + lane;
      const int left = p.k - (turn + kAhead) * kWarps * kDepth<T> - first_k;
      const int elements = left < 0 ? 0 : left < kRun<T> ? left : kRun<T>;
      x.template copy<kRowRuns>(elements, own);
      a.template copy<kColumnRuns<kTiles>>(elements, own + kRowRuns * 32);
    }
    copy_async_commit();
    const Run<T> *stage = ring + used * kStageRuns<kTiles>;
    used = used < kAhead ? used + 1 : 0;
    if (turn < 0) continue;
    copy_async_wait<kAhead>();
    sums.add(stage, lane);
  }

  // No warp needs the ring any more.
  block_sync();
  sums.store(reinterpret_cast<float *>(shared_memory()) + warp * kWarpSums<kTiles>, lane);
  block_sync();
  store_h<T, kTiles>(p, block);
  // The sums lie where the ring does.
  block_sync();
}

template <typename T, int kTiles>
__global__ void __launch_bounds__(kThreads, 2)
    down_projection(const __grid_constant__ LoraParams p) {
  grid_dependency_launch();
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.row_tiles * kPartsOfTile;
       i += static_cast<int32_t>(gridDim.x)) {
    const Part part = part_at<16 * kTiles>(p, i);
    if (part.columns > 0) project<T, kTiles>(p, part);
  }
}

struct Request {
  const LoraParams &params;
  int32_t r;
  int32_t multiprocessors;
  cudaStream_t stream;
};

template <typename T, int kTiles>
cudaError_t launch_tiles(const Request &q) noexcept {
  const int32_t row_parts = q.params.row_tiles * kPartsOfTile;
  const int32_t column_parts = (q.r - 1) / (16 * kTiles) + 1;
  const bool confined = q.multiprocessors > 0;
  const int32_t blocks =
      confined ? lesser(row_parts, greater(q.multiprocessors / column_parts, 1)) : row_parts;
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(column_parts));
  shape.block = dim3(kThreads);
  shape.shared_bytes = confined ? kWholeBytes : kRingBytes<kTiles>;
  return launch(shape, q.stream, down_projection<T, kTiles>, q.params);
}

// With more columns than 32, F32 would need too many registers.
template <typename T>
cudaError_t launch_columns(const Request &q) noexcept {
  if (q.r <= 16) return launch_tiles<T, 1>(q);
  if constexpr (sizeof(T) == 2) {
    if (q.r > 32) return launch_tiles<T, 4>(q);
  }
  return launch_tiles<T, 2>(q);
}

cudaError_t launch_type(const Request &q, glance_dtype dtype) noexcept {
  if (dtype == GLANCE_F32) return launch_columns<float>(q);
  if (dtype == GLANCE_BF16) return launch_columns<bf16>(q);
  return launch_columns<f16>(q);
}

}  // namespace

glance_status down_projection_cuda(const LoraParams &params, glance_dtype dtype,
                                   cudaStream_t stream, int32_t multiprocessors) noexcept {
  int32_t r = 0;
  for (int i = 0; i < params.adapter_count; ++i) r = greater(r, params.down[i].r);
  if (r == 0 || params.row_tiles == 0) return GLANCE_OK;
  return cuda_status("down_projection: launch",
                     launch_type({params, r, multiprocessors, stream}, dtype));
}

}  // namespace glance
