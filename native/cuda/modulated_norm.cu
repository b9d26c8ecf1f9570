// modulated_norm on CUDA.
//
// Formula: glance/modulated_norm.h. Matrices of rows x columns, row-major with a stride; 64 x 192
// to 9216 x 3072, one row of scale and shift for many rows. Reads x once and writes y: for bf16 4
// bytes and some 14 operations an element, so memory decides. A warp takes a row; the row waits in
// shared memory, from where its mean, its variance and its result are computed in f32. Rows that
// are too long for that, or not aligned to 16 bytes throughout, are read again each time.
//
// With h, for BF16 and F16, a block puts its rounded rows back into shared memory and multiplies
// them by A^T, which comes from the L2 cache: for 4608 x 3072, on 132 multiprocessors, 25 MB of it
// at R = 16 and 39 MB at R = 48, where blocks are larger; that is 0.45 and 1.4 GFLOP. Blocks are
// cut so that all run at the same time. What does not fit this is done by the norm alone and
// down_projection_cuda behind it. Not measured yet.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "core/adapters.h"
#include "core/packed_matrix.h"
#include "core/status.h"
#include "cuda/device.h"
#include "cuda/down_projection.h"
#include "cuda/launch.h"
#include "cuda/modulated_norm.h"
#include "cuda/norm_row.h"
#include "cuda/ptx.h"
#include "cuda/row_block.h"
#include "cuda/row_vectors.h"

namespace glance {
namespace {

// A row each. With 6 KB a row, 36 rows are then under way on a multiprocessor.
constexpr int kNormWarps = 4;
constexpr int64_t kMaxBlocks = 1 << 30;

// With more columns of h than this the blocks would read more of A than down_projection_cuda does.
constexpr int32_t kMaxEmitted = 128;
// Fewer rows to a block would leave part of the matrix instruction unused.
constexpr int32_t kLeastRowBlock = 8;

// The norm alone, a row a warp. kFetched: by way of shared memory.
template <typename T, int kCount, bool kFetched>
__global__ void __launch_bounds__(32 * kNormWarps) modulated_norm_rows(const NormParams p) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int64_t row = int64_t{blockIdx.x} * kNormWarps + warp; row < p.rows;
       row += int64_t{gridDim.x} * kNormWarps) {
    T *y = static_cast<T *>(p.y) + row * p.y_stride;
    const auto store = [y](int64_t i, const float(&values)[kCount]) {
      store_elements(y + i, values);
    };
    if constexpr (kFetched) {
      fetch_row<T>(p, row, shared_memory(), warp);
      copy_async_commit();
      copy_async_wait<0>();
      const FetchedRow<T, kCount> fetched = {shared_memory(), warp, p.row_bytes};
      norm_row<T, kCount>(p, row, fetched, store);
    } else {
      const T *x = static_cast<const T *>(p.x) + row * p.x_stride;
      const auto load = [x](float(&values)[kCount], int64_t i) { load_elements(values, x + i); };
      norm_row<T, kCount>(p, row, load, store);
    }
  }
}

// The norm of a block's rows, and their h: rows of the segments in `lora`, per_block to a block.
template <typename T, typename Shape>
GLANCE_DEVICE void norm_and_project(const NormParams &p, const LoraParams &lora,
                                    int32_t per_block) {
  constexpr int kCount = kVectorOf<T>;
  constexpr int kRounds = 3;
  static_assert(kRounds * Shape::kWarps >= Shape::kMaxRows);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int32_t first = lora.segments[0].begin + static_cast<int32_t>(blockIdx.x) * per_block;
  const int32_t left = lora.segments[lora.segment_count - 1].end - first;
  const RowBlock block = {shared_memory(), p.row_bytes, left < per_block ? left : per_block,
                          static_cast<int32_t>(p.columns)};
#pragma unroll 1
  for (int round = 0; round < kRounds; ++round) {
    const int32_t slot = warp + round * Shape::kWarps;
    if (slot < block.rows) fetch_row<T>(p, first + slot, block.shared, slot);
    copy_async_commit();
  }
#pragma unroll 1
  for (int round = 0; round < kRounds; ++round) {
    if (round == 0) {
      copy_async_wait<2>();
    } else if (round == 1) {
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    const int32_t slot = warp + round * Shape::kWarps;
    if (slot >= block.rows) continue;
    const FetchedRow<T, kCount> fetched = {block.shared, slot, block.row_bytes};
    T *y = static_cast<T *>(p.y) + (first + slot) * p.y_stride;
    norm_row<T, kCount>(p, first + slot, fetched, [&](int64_t i, const float(&values)[kCount]) {
      uint32_t words[4];
      pack_elements<T>(words, values);
      store_16(y + i, words);
      *reinterpret_cast<uint4 *>(fetched.at(i)) =
          make_uint4(words[0], words[1], words[2], words[3]);
    });
  }
  project_rows<T, Shape>(lora, block, first, static_cast<T *>(lora.h) + first * lora.h_stride);
}

template <typename T>
__global__ void __launch_bounds__(TwoRowBlocks::kThreads, 2)
    modulated_norm_emitting(const NormParams p, const __grid_constant__ LoraParams lora,
                            const int32_t per_block) {
  norm_and_project<T, TwoRowBlocks>(p, lora, per_block);
}

template <typename T>
__global__ void __launch_bounds__(OneRowBlock::kThreads, 1)
    modulated_norm_emitting_more(const NormParams p, const __grid_constant__ LoraParams lora,
                                 const int32_t per_block) {
  norm_and_project<T, OneRowBlock>(p, lora, per_block);
}

// What bounds a block's shared memory, and how many blocks there should be.
struct Limits {
  int32_t multiprocessors;
  int32_t shared_bytes;
};

glance_status limits_of_device(Limits *limits) noexcept {
  const glance_status status = multiprocessor_count(&limits->multiprocessors);
  return status == GLANCE_OK ? most_shared_bytes(&limits->shared_bytes) : status;
}

// Rows to a block for so many rows, with `together` blocks on a multiprocessor, or 0 if too few
// fit.
template <typename Shape>
int32_t rows_per_block(const Limits &limits, int64_t together, int64_t rows, int32_t bytes) {
  // A multiprocessor has 1 KB more than one block may use, and keeps 1 KB for itself for each.
  const int64_t room = (limits.shared_bytes + 1024) / together - 1024 - Shape::kSumBytes;
  const int64_t fit = std::min<int64_t>(room / bytes, Shape::kMaxRows);
  if (fit < kLeastRowBlock) return 0;
  // All blocks at once, or in as many turns as it takes, each with as many rows.
  const int64_t at_once = together * limits.multiprocessors;
  const int64_t turns = (rows - 1) / (at_once * fit) + 1;
  const int64_t even = (rows - 1) / (at_once * turns) + 1;
  return static_cast<int32_t>(std::max<int64_t>(even, kLeastRowBlock));
}

NormParams norm_params(const glance_modulated_norm_args &a) {
  NormParams p = {
      a.x,        a.y,        a.scale,        a.shift,        a.rows,           a.columns,
      a.x_stride, a.y_stride, a.scale_stride, a.shift_stride, a.rows_per_group, a.epsilon,
      a.norm,     0};
  if (a.scale == nullptr && a.shift == nullptr) p.rows_per_group = a.rows;
  if (a.scale == nullptr) p.scale_stride = 0;
  if (a.shift == nullptr) p.shift_stride = 0;
  return p;
}

template <typename T>
bool in_vectors(const glance_modulated_norm_args &a) {
  constexpr int kCount = kVectorOf<T>;
  return a.columns % kCount == 0 && fits_vectors(a.x, a.x_stride, kCount, sizeof(T)) &&
         fits_vectors(a.y, a.y_stride, kCount, sizeof(T)) &&
         fits_vectors(a.scale, a.scale_stride, kCount, sizeof(T)) &&
         fits_vectors(a.shift, a.shift_stride, kCount, sizeof(T));
}

template <typename T>
glance_status run_norm(const glance_modulated_norm_args &a, const Limits &limits,
                       cudaStream_t stream) noexcept {
  NormParams p = norm_params(a);
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(std::min((a.rows - 1) / kNormWarps + 1, kMaxBlocks)));
  shape.block = dim3(32 * kNormWarps);
  void (*kernel)(NormParams) = modulated_norm_rows<T, 1, false>;
  if (in_vectors<T>(a)) {
    constexpr int64_t kElementBytes = sizeof(T);
    kernel = modulated_norm_rows<T, kVectorOf<T>, false>;
    if (a.columns <= (limits.shared_bytes / kNormWarps - 127) / kElementBytes) {
      p.row_bytes = row_bytes(a.columns, sizeof(T));
      shape.shared_bytes = static_cast<size_t>(kNormWarps * p.row_bytes);
      kernel = modulated_norm_rows<T, kVectorOf<T>, true>;
    }
  }
  return cuda_status("modulated_norm: launch", launch(shape, stream, kernel, p));
}

// What both ways to h need of the adapters.
LoraParams lora_params(const glance_modulated_norm_args &a) {
  LoraParams p = {};
  p.x = a.y;
  p.x_stride = a.y_stride;
  p.h = a.h;
  p.h_stride = a.h_stride;
  p.rows = static_cast<int32_t>(a.rows);
  p.k = static_cast<int32_t>(a.columns);
  p.adapter_count = a.adapters.adapter_count;
  p.selection = a.adapters.selection;
  for (int32_t i = 0; i < p.adapter_count; ++i) {
    const glance_matrix &down = *a.adapters.adapters[i].down;
    p.down[i] = {down.data, down.row_stride, down.column_stride, static_cast<int32_t>(down.rows),
                 a.adapters.adapters[i].scale};
  }
  return p;
}

// How norm and down-projection are done in one kernel; kernel is null if they cannot be.
struct Emitting {
  void (*kernel)(NormParams, LoraParams, int32_t);
  unsigned threads;
  int32_t sum_bytes;
  int32_t per_block;
};

// It depends on the rows only in how many a block has, which no result depends on.
template <typename T>
Emitting emitting(const glance_modulated_norm_args &a, const Limits &limits) {
  const int64_t emitted = h_columns(a.adapters);
  if (!in_vectors<T>(a) || emitted > kMaxEmitted) return {};
  for (int32_t i = 0; i < a.adapters.adapter_count; ++i) {
    const glance_matrix &down = *a.adapters.adapters[i].down;
    if (down.column_stride != 1 || !fits_vectors(down.data, down.row_stride, 8, 2)) return {};
  }
  // Not one row would fit, and its bytes might not fit their type.
  if (a.columns > limits.shared_bytes) return {};
  const int32_t bytes = row_bytes(a.columns, sizeof(T));
  if (emitted <= kAdapterRows) {
    const int32_t rows = rows_per_block<TwoRowBlocks>(limits, 2, a.rows, bytes);
    if (rows > 0) {
      return {modulated_norm_emitting<T>, TwoRowBlocks::kThreads, TwoRowBlocks::kSumBytes, rows};
    }
  }
  const int32_t rows = rows_per_block<OneRowBlock>(limits, 1, a.rows, bytes);
  if (rows == 0) return {};
  return {modulated_norm_emitting_more<T>, OneRowBlock::kThreads, OneRowBlock::kSumBytes, rows};
}

template <typename T>
cudaError_t run_emitting(const glance_modulated_norm_args &a, const Emitting &e,
                         const LoraParams &lora, cudaStream_t stream) {
  NormParams p = norm_params(a);
  p.row_bytes = row_bytes(a.columns, sizeof(T));
  const int32_t rows = lora.segments[lora.segment_count - 1].end - lora.segments[0].begin;
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>((rows - 1) / e.per_block + 1));
  shape.block = dim3(e.threads);
  shape.shared_bytes = static_cast<size_t>(e.per_block * p.row_bytes + e.sum_bytes);
  return launch(shape, stream, e.kernel, p, lora, e.per_block);
}

template <typename T>
glance_status run_with_h(const glance_modulated_norm_args &a, const Limits &limits,
                         cudaStream_t stream) noexcept {
  if (a.rows > INT32_MAX || a.columns > INT32_MAX) {
    return fail(GLANCE_UNSUPPORTED,
                "modulated_norm: on CUDA rows and columns are at most %d with h", INT32_MAX);
  }
  Emitting e = {};
  if constexpr (sizeof(T) == 2) e = emitting<T>(a, limits);
  glance_status status = e.kernel == nullptr ? run_norm<T>(a, limits, stream) : GLANCE_OK;
  LoraParams lora = lora_params(a);
  for (int32_t next = 0; status == GLANCE_OK && take_segments(a.adapters, &next, &lora);) {
    status = e.kernel == nullptr
                 ? down_projection_cuda(lora, a.dtype, stream)
                 : cuda_status("modulated_norm: launch", run_emitting<T>(a, e, lora, stream));
  }
  return status;
}

template <typename T>
glance_status run(const glance_modulated_norm_args &a, cudaStream_t stream) noexcept {
  Limits limits;
  const glance_status status = limits_of_device(&limits);
  if (status != GLANCE_OK) return status;
  if (a.h == nullptr || h_columns(a.adapters) == 0) return run_norm<T>(a, limits, stream);
  return run_with_h<T>(a, limits, stream);
}

}  // namespace

glance_status modulated_norm_cuda(const glance_modulated_norm_args &args, void *stream) noexcept {
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  const auto queue = static_cast<cudaStream_t>(stream);
  switch (args.dtype) {
    case GLANCE_BF16:
      return run<bf16>(args, queue);
    case GLANCE_F16:
      return run<f16>(args, queue);
    default:
      return run<float>(args, queue);
  }
}

}  // namespace glance
