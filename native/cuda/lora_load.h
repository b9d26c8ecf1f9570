// What the products of lora_linear on CUDA have in common where there is no TMA: which output tile
// a block makes, and how the operands' tiles come into shared memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "cuda/device.h"
#include "cuda/lora_params.h"
#include "cuda/ptx.h"

namespace glance {

// Of each row of an operand, a K step takes this many bytes: a 16-byte copy of each of four lanes.
constexpr int kStepBytes = 64;
template <typename T>
constexpr int kStep = kStepBytes / static_cast<int>(sizeof(T));

// 16 bytes of a row.
template <typename T>
constexpr int kRun = 16 / static_cast<int>(sizeof(T));
template <typename T>
struct alignas(16) Run {
  T v[kRun<T>];
};

// Whether the rows can be read and written run by run.
template <typename T>
GLANCE_DEVICE bool in_runs(const void *data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % kRun<T> == 0;
}

// A block makes kTile x kTile outputs with 2 kTile threads. Its warps, kTile / 32 below each other
// and two side by side, make 32 x kTile / 2 each.
constexpr int kWarpRows = 32;
template <int kTile>
constexpr int kWarpColumns = kTile / 2;
template <int kTile>
constexpr int kTileThreads = 2 * kTile;

// As many stages as let two blocks fit on a multiprocessor of 100 KB (sm_86), but for F32's gaps.
template <int kTile>
constexpr int kStages = 384 / kTile;
template <typename T, int kTile>
constexpr int kOperandBytes = kTile *kStepBytes + (sizeof(T) == 4 ? kTile / 4 * 16 : 0);
template <typename T, int kTile>
constexpr int kStageBytes = 2 * kOperandBytes<T, kTile>;

// With fewer tiles of 128 x 128 than this, some of a large device's multiprocessors (108 to 144)
// would get two and others one or none: then the tiles are 64 x 64.
constexpr int64_t kFewTiles = 256;

// Row tiles that run next to each other before the next columns are taken: about as many as the
// column tiles that run at the same time, so that either operand is read from the L2 cache.
constexpr int kRowGroup = 16;

struct OutputTile {
  int32_t linear;
  int32_t row;
  // 0 or less: there is nothing to do.
  int32_t rows;
  int32_t column;
  // Or -1.
  int32_t adapter;
};

// ceil(a / b) for a of 1 or more, whatever its size.
static __host__ __device__ __forceinline__ int32_t parts(int32_t a, int32_t b) {
  return (a - 1) / b + 1;
}

template <int kTile>
inline int64_t output_tiles(const LoraParams &p) {
  int64_t columns = 0;
  for (int l = 0; l < p.linear_count; ++l) columns += parts(p.linears[l].n, kTile);
  return columns * p.row_tiles * (kTileRows / kTile);
}

// This block's tile. The linears lie side by side, as columns of one matrix.
template <int kTile>
GLANCE_DEVICE OutputTile output_tile(const LoraParams &p) {
  constexpr int kParts = kTileRows / kTile;
  const int32_t row_tiles = p.row_tiles * kParts;
  const int32_t columns = static_cast<int32_t>(gridDim.x) / row_tiles;
  const int32_t index = static_cast<int32_t>(blockIdx.x);
  const int32_t most = row_tiles < kRowGroup ? row_tiles : kRowGroup;
  const int32_t group = index / (columns * most) * most;
  const int32_t group_rows = row_tiles - group < most ? row_tiles - group : most;
  const int32_t within = index - group * columns;
  const int32_t row_tile = group + within % group_rows;
  int32_t column_tile = within / group_rows;
  int32_t linear = 0;
  for (; linear < p.linear_count - 1; ++linear) {
    const int32_t of_linear = parts(p.linears[linear].n, kTile);
    if (column_tile < of_linear) break;
    column_tile -= of_linear;
  }
  const RowTileParams rows = row_tile_of(p, row_tile / kParts);
  const int32_t skipped = row_tile % kParts * kTile;
  const int32_t left = rows.count - skipped;
  return {linear, rows.begin + skipped, left < kTile ? left : kTile, column_tile * kTile,
          rows.adapter};
}

// Where, in bytes, a tile's 16 bytes number `chunk` of row `outer` lie, so that what is read at the
// same time is in different banks. ldmatrix reads the same chunk of eight rows that follow each
// other: there the chunks of a row are exchanged by its number. F32 reads the same chunk of every
// fourth row, or chunks that follow each other: there four rows have a gap behind them, as that
// leaves all places a constant apart.
template <typename T, int kInner>
GLANCE_DEVICE int place(int outer, int chunk) {
  constexpr int kRowBytes = kInner * static_cast<int>(sizeof(T));
  if constexpr (sizeof(T) == 4) {
    return outer * kRowBytes + (kRowBytes == kStepBytes ? outer / 4 * 16 : 0) + chunk * 16;
  } else {
    // Not by division, behind which the compiler does not see that only few of the bits matter.
    const int exchanged = kRowBytes == kStepBytes ? outer >> 1 & 3 : outer & 7;
    return outer * kRowBytes + (chunk ^ exchanged) * 16;
  }
}

// What of an operand is still to be loaded, as rows (outer) of elements (inner) in the order of
// shared memory. Beyond the limits there are zeros.
template <typename T>
struct Source {
  const T *first;
  int64_t outer_stride;
  int64_t inner_stride;
  int32_t outer_limit;
  int32_t inner_limit;
  // Copied 16 bytes at a time.
  bool aligned;

  __device__ Source(const void *data, int64_t outer_step, int64_t inner_step, int32_t outers,
                    int32_t inners)
      : first(static_cast<const T *>(data)),
        outer_stride(outer_step),
        inner_stride(inner_step),
        outer_limit(outers),
        inner_limit(inners),
        aligned(inner_step == 1 && in_runs<T>(data, outer_step)) {}
};

// This thread's share in copying a tile of kOuter x kInner elements: a run of every row that is a
// multiple of kOutersAtOnce behind its first.
template <typename T, int kInner, int kThreads>
struct Share {
  static constexpr int kChunks = kInner / kRun<T>;
  static constexpr int kOutersAtOnce = kThreads / kChunks;
  int outer = static_cast<int>(threadIdx.x) / kChunks;
  int chunk = static_cast<int>(threadIdx.x) % kChunks;
  int inner = chunk * kRun<T>;
};

template <int kOuter, int kInner, int kThreads, typename T>
GLANCE_DEVICE void load_runs(const Source<T> &s, unsigned char *shared) {
  typedef Share<T, kInner, kThreads> Part;
  static_assert(kOuter % Part::kOutersAtOnce == 0);
  const Part part;
  const int left = s.inner_limit - part.inner;
  const int inners = left < 0 ? 0 : left < kRun<T> ? left : kRun<T>;
  // An address inside the matrix also where nothing is read.
  const T *from = s.first + (inners > 0 ? part.inner : 0);
#pragma unroll
  for (int i = 0; i < kOuter / Part::kOutersAtOnce; ++i) {
    const int outer = part.outer + i * Part::kOutersAtOnce;
    const bool inside = outer < s.outer_limit;
    copy_async_16(shared + place<T, kInner>(outer, part.chunk),
                  from + (inside ? outer : 0) * s.outer_stride,
                  inside ? inners * static_cast<int>(sizeof(T)) : 0);
  }
}

template <int kOuter, int kInner, int kThreads, typename T>
GLANCE_DEVICE void load_elements(const Source<T> &s, unsigned char *shared) {
  typedef Share<T, kInner, kThreads> Part;
  const Part part;
#pragma unroll 1
  for (int outer = part.outer; outer < kOuter; outer += Part::kOutersAtOnce) {
    const T *from = s.first + outer * s.outer_stride + part.inner * s.inner_stride;
    Run<T> run = {};
#pragma unroll
    for (int e = 0; e < kRun<T>; ++e) {
      if (outer < s.outer_limit && part.inner + e < s.inner_limit)
        run.v[e] = from[e * s.inner_stride];
    }
    *reinterpret_cast<Run<T> *>(shared + place<T, kInner>(outer, part.chunk)) = run;
  }
}

template <int kOuter, int kInner, int kThreads, typename T>
GLANCE_DEVICE void load_tile(const Source<T> &s, unsigned char *shared) {
  if (s.aligned) {
    load_runs<kOuter, kInner, kThreads>(s, shared);
  } else {
    load_elements<kOuter, kInner, kThreads>(s, shared);
  }
}

// Both operands of a tile, step by step: first x and W over K, then h and B over the rank. Rows of
// x and h lie in shared memory with K inside; so do those of W and B, or, with kColumnsInside, N.
template <typename T, int kTile, bool kColumnsInside>
class Operands {
 public:
  __device__ Operands(const LoraParams &params, const OutputTile &output)
      : p(params),
        tile(output),
        left_(rows_of(params.x, params.x_stride, 0, params.k)),
        right_(columns_of(linear().w, linear().w_row_stride, linear().w_column_stride, params.k)),
        base_steps_(parts(params.k, kStep<T>)) {}

  __device__ int steps() const { return base_steps_ + (rank() + kStep<T> - 1) / kStep<T>; }

  // To be called for one step after the other.
  __device__ void load(int step, unsigned char *left, unsigned char *right) {
    if (step == base_steps_) {
      // The kernel before this one writes h.
      grid_dependency_wait();
      const UpParams &up = linear().up[tile.adapter];
      left_ = rows_of(p.h, p.h_stride, up.first, up.rank);
      right_ = columns_of(up.b, up.row_stride, up.column_stride, up.rank);
    }
    load_tile<kTile, kStep<T>, kTileThreads<kTile>>(left_, left);
    left_.first += kStep<T>;
    left_.inner_limit -= kStep<T>;
    if constexpr (kColumnsInside) {
      load_tile<kStep<T>, kTile, kTileThreads<kTile>>(right_, right);
      right_.first += kStep<T> * right_.outer_stride;
      right_.outer_limit -= kStep<T>;
    } else {
      load_tile<kTile, kStep<T>, kTileThreads<kTile>>(right_, right);
      right_.first += kStep<T> * right_.inner_stride;
      right_.inner_limit -= kStep<T>;
    }
  }

 private:
  __device__ const LinearParams &linear() const { return p.linears[tile.linear]; }
  __device__ int rank() const { return tile.adapter < 0 ? 0 : linear().up[tile.adapter].rank; }

  __device__ Source<T> rows_of(const void *data, int64_t stride, int32_t first,
                               int32_t inner) const {
    const T *begin = static_cast<const T *>(data) + tile.row * stride + first;
    return Source<T>(begin, stride, 1, tile.rows, inner);
  }
  __device__ Source<T> columns_of(const void *data, int64_t row_stride, int64_t column_stride,
                                  int32_t inner) const {
    const T *begin = static_cast<const T *>(data) + tile.column * row_stride;
    const int32_t columns = linear().n - tile.column;
    if constexpr (kColumnsInside) {
      return Source<T>(begin, column_stride, row_stride, inner, columns);
    } else {
      return Source<T>(begin, row_stride, column_stride, columns, inner);
    }
  }

  const LoraParams &p;
  const OutputTile &tile;
  Source<T> left_;
  Source<T> right_;
  int base_steps_;
};

// Calls multiply(left tile, right tile, sums) for all steps of a tile, while the next stages are
// being loaded. The shared memory is free again when it returns.
template <typename T, int kTile, bool kColumnsInside, typename Multiply, typename Sums>
GLANCE_DEVICE void sum_products(const LoraParams &p, const OutputTile &tile,
                                const Multiply &multiply, Sums *sums) {
  constexpr int kAhead = kStages<kTile> - 1;
  unsigned char *shared = shared_memory();
  Operands<T, kTile, kColumnsInside> operands(p, tile);
  const int steps = operands.steps();
  int loaded = 0;
  int used = 0;
  for (int step = -kAhead; step < steps; ++step) {
    if (step >= 0) {
      copy_async_wait<kAhead - 1>();
      // The stage to be loaded is the one that all threads used in the step before.
      block_sync();
    }
    if (step + kAhead < steps) {
      unsigned char *stage = shared + loaded * kStageBytes<T, kTile>;
      operands.load(step + kAhead, stage, stage + kOperandBytes<T, kTile>);
      loaded = loaded + 1 < kStages<kTile> ? loaded + 1 : 0;
    }
    copy_async_commit();
    if (step >= 0) {
      const unsigned char *stage = shared + used * kStageBytes<T, kTile>;
      multiply(stage, stage + kOperandBytes<T, kTile>, sums);
      used = used + 1 < kStages<kTile> ? used + 1 : 0;
    }
  }
  block_sync();
}

inline bool is_large(const LoraParams &p) { return output_tiles<128>(p) >= kFewTiles; }

// One layout for all linears of a call. If they differ it is the first one's, and the others go
// element by element.
inline bool has_columns_inside(const LoraParams &p) {
  return p.linears[0].w_row_stride == 1 && p.linears[0].w_column_stride != 1;
}

template <typename T, int kTile>
inline glance_status launch_tiles(const LoraParams &p, void (*kernel)(LoraParams),
                                  cudaStream_t stream) noexcept {
  const int64_t tiles = output_tiles<kTile>(p);
  // Ten times the outputs that fit in the memory of any device: a mistake.
  if (tiles < 1 || tiles > INT32_MAX) {
    return fail(GLANCE_INVALID_ARGUMENT, "lora_linear: %lld output tiles; 1 to %d are possible",
                static_cast<long long>(tiles), INT32_MAX);
  }
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(tiles));
  shape.block = dim3(kTileThreads<kTile>);
  shape.shared_bytes = kStages<kTile> * kStageBytes<T, kTile>;
  int32_t capability = 0;
  const glance_status status = compute_capability(&capability);
  if (status != GLANCE_OK) return status;
  // Devices before 9.0 cannot overlap kernels, and need not be asked to.
  shape.overlaps_previous = capability >= 90 && p.h != nullptr && p.h_from_previous != 0;
  return cuda_status("lora_linear: launch", launch(shape, stream, kernel, p));
}

}  // namespace glance
