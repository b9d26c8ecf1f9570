// gated_residual on CUDA.
//
// Formula: glance/gated_residual.h. Matrices of rows x columns, row-major with a stride; 64 x 192
// to 9216 x 3072, one row of gate for many rows. Reads residual and update, writes y, with the gate
// from the caches: for bf16 6 bytes and 2 operations an element, so memory decides. f32 arithmetic,
// no fused multiply-add (-fmad=false for this file), so that the bits are the CPU's. Where all
// pointers, strides and columns allow, elements are moved 16 bytes at a time, else one by one. Not
// measured yet.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda/device.h"
#include "cuda/gated_residual.h"
#include "cuda/launch.h"
#include "cuda/row_vectors.h"
#include "math/gated_residual.h"

namespace glance {
namespace {

constexpr int kThreads = 128;
// Vectors of one thread that are loaded before the first is computed: with 128 threads, a row of
// 3072 16-bit elements.
constexpr int kVectors = 3;
constexpr int64_t kMaxBlocks = 1 << 30;

template <typename T>
struct GatedParams {
  const T *residual;
  const T *update;
  const T *gate;
  T *y;
  int64_t rows, columns;
  int64_t residual_stride, update_stride, gate_stride, y_stride;
  int64_t rows_per_gate;
};

// 2^rows_log rows a block, kThreads >> rows_log threads a row; kCount elements at a time, which
// divides columns. No __restrict: y may be residual or update.
template <typename T, int kCount>
__global__ void __launch_bounds__(kThreads)
    gated_residual_rows(const GatedParams<T> p, const int rows_log) {
  const int threads = kThreads >> rows_log;
  const int thread = static_cast<int>(threadIdx.x) & (threads - 1);
  const int64_t own = static_cast<int>(threadIdx.x) / threads;
  for (int64_t row = (int64_t{blockIdx.x} << rows_log) + own; row < p.rows;
       row += int64_t{gridDim.x} << rows_log) {
    const T *residual_row = p.residual + row * p.residual_stride;
    const T *update_row = p.update + row * p.update_stride;
    const T *gate_row = p.gate + row / p.rows_per_gate * p.gate_stride;
    T *y_row = p.y + row * p.y_stride;
    const int64_t step = int64_t{threads} * kCount;
    for (int64_t first = int64_t{thread} * kCount; first < p.columns; first += kVectors * step) {
      float residual[kVectors][kCount];
      float update[kVectors][kCount];
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        const int64_t column = first + v * step;
        if (column >= p.columns) continue;
        load_elements(residual[v], residual_row + column);
        load_elements(update[v], update_row + column);
      }
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        const int64_t column = first + v * step;
        if (column >= p.columns) continue;
        float gate[kCount];
        load_elements(gate, gate_row + column);
        float y[kCount];
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          y[i] = gated_residual(residual[v][i], gate[i], update[v][i]);
        }
        store_elements(y_row + column, y);
      }
    }
  }
}

template <typename T, int kCount>
cudaError_t run_vectors(const GatedParams<T> &p, cudaStream_t stream) {
  int rows_log = 0;
  while (rows_log < 7 && p.columns <= int64_t{kThreads >> (rows_log + 1)} * kCount) ++rows_log;
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(std::min(((p.rows - 1) >> rows_log) + 1, kMaxBlocks)));
  shape.block = dim3(kThreads);
  return launch(shape, stream, gated_residual_rows<T, kCount>, p, rows_log);
}

template <typename T>
cudaError_t run(const glance_gated_residual_args &g, cudaStream_t stream) {
  const GatedParams<T> p = {static_cast<const T *>(g.residual),
                            static_cast<const T *>(g.update),
                            static_cast<const T *>(g.gate),
                            static_cast<T *>(g.y),
                            g.rows,
                            g.columns,
                            g.residual_stride,
                            g.update_stride,
                            g.gate_stride,
                            g.y_stride,
                            g.rows_per_gate};
  constexpr int kCount = kVectorOf<T>;
  const bool vectors = g.columns % kCount == 0 &&
                       fits_vectors(g.residual, g.residual_stride, kCount, sizeof(T)) &&
                       fits_vectors(g.update, g.update_stride, kCount, sizeof(T)) &&
                       fits_vectors(g.gate, g.gate_stride, kCount, sizeof(T)) &&
                       fits_vectors(g.y, g.y_stride, kCount, sizeof(T));
  return vectors ? run_vectors<T, kCount>(p, stream) : run_vectors<T, 1>(p, stream);
}

cudaError_t for_dtype(const glance_gated_residual_args &g, cudaStream_t stream) {
  switch (g.dtype) {
    case GLANCE_BF16:
      return run<bf16>(g, stream);
    case GLANCE_F16:
      return run<f16>(g, stream);
    default:
      return run<float>(g, stream);
  }
}

}  // namespace

glance_status gated_residual_cuda(const glance_gated_residual_args &args, void *stream) noexcept {
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  return cuda_status("gated_residual: launch", for_dtype(args, static_cast<cudaStream_t>(stream)));
}

}  // namespace glance
