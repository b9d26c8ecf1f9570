// Copies around cuBLASLt's products.
//
//   join:         out[i] = left[i] | right[i] | zeros
//   finish_sums:  y = epilogue(sum + bias)
//
// Shapes: rows x columns, row-major with strides; join's output and the sums have no gaps. Types:
// f32, bf16, f16; join moves bits, finish_sums adds in f32 and rounds once. Alignment: join relies
// on 16 bytes for its output only and takes 16 bytes at a time from sources that allow it. Bytes: a
// join reads and writes its output's size, 38 MB for W at 3072 x 3088 in bf16; finish_sums moves
// 4 bytes an element more than y, gate and residual have. Not measured yet.
#include <cstdint>

#include "cuda/device.h"
#include "cuda/joined.h"
#include "cuda/launch.h"

namespace glance {
namespace {

constexpr int kThreads = 256;
// Enough to fill any current device; loops take the rest, so the grid never exceeds its limits.
constexpr int64_t kMaxBlocks = 4096;
// Elements a thread joins at a time.
constexpr int kChunk = 8;

template <typename Bits>
struct alignas(16) Chunk {
  Bits elements[kChunk];
};

// Whether kChunk elements can be read at once, from every column that is a multiple of it.
__device__ bool in_chunks(const void *data, int64_t row_stride, int64_t column_stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && row_stride % kChunk == 0 &&
         column_stride == 1;
}

template <typename Bits>
__device__ Bits joined_element(const JoinParams &p, int32_t row, int32_t column) {
  if (column < p.left_columns) {
    return static_cast<const Bits *>(
        p.left)[row * p.left_row_stride + column * p.left_column_stride];
  }
  const int32_t right = column - p.left_columns;
  if (right >= p.right_columns) return 0;
  return static_cast<const Bits *>(
      p.right)[row * p.right_row_stride + right * p.right_column_stride];
}

// One thread a chunk.
template <typename Bits>
__global__ void __launch_bounds__(kThreads) join(const JoinParams p) {
  const int32_t row_chunks = p.columns / kChunk;
  const int64_t chunks = int64_t{p.rows} * row_chunks;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  const bool whole = in_chunks(p.left, p.left_row_stride, p.left_column_stride);
  auto *joined = static_cast<Chunk<Bits> *>(p.joined);
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < chunks; i += step) {
    const auto row = static_cast<int32_t>(i / row_chunks);
    const auto column = static_cast<int32_t>(i - int64_t{row} * row_chunks) * kChunk;
    if (whole && column + kChunk <= p.left_columns) {
      const Bits *left = static_cast<const Bits *>(p.left) + row * p.left_row_stride + column;
      joined[i] = *reinterpret_cast<const Chunk<Bits> *>(left);
      continue;
    }
    Chunk<Bits> chunk;
#pragma unroll
    for (int c = 0; c < kChunk; ++c) chunk.elements[c] = joined_element<Bits>(p, row, column + c);
    joined[i] = chunk;
  }
}

// One thread an element.
template <typename T, int kEpilogue>
__global__ void __launch_bounds__(kThreads)
    finish_sums(const float *sums, const LinearParams linear, const int32_t begin,
                const int32_t end) {
  const int64_t elements = int64_t{end - begin} * linear.n;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  const auto *bias = static_cast<const T *>(linear.bias);
  const auto *gate = static_cast<const T *>(linear.gate);
  const auto *residual = static_cast<const T *>(linear.residual);
  auto *y = static_cast<T *>(linear.y);
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += step) {
    const int64_t sums_row = i / linear.n;
    const int64_t column = i - sums_row * linear.n;
    const int64_t row = begin + sums_row;
    float gate_value = 0.0f;
    float residual_value = 0.0f;
    if constexpr (kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
      gate_value = to_f32(gate[row / linear.rows_per_gate * linear.gate_stride + column]);
      residual_value = to_f32(residual[row * linear.residual_stride + column]);
    }
    const float bias_value = bias == nullptr ? 0.0f : to_f32(bias[column]);
    const float value = finished<kEpilogue>(sums[i], bias_value, gate_value, residual_value);
    y[row * linear.y_stride + column] = from_f32<T>(value);
  }
}

LaunchShape shape(int64_t threads) {
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  LaunchShape shape = {};
  shape.grid = dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
  shape.block = dim3(kThreads);
  return shape;
}

template <typename T>
cudaError_t launch_finish_sums(const float *sums, const LinearParams &linear, int32_t begin,
                               int32_t end, cudaStream_t stream) {
  const LaunchShape elements = shape(int64_t{end - begin} * linear.n);
  if (linear.epilogue == GLANCE_EPILOGUE_GELU_TANH) {
    return launch(elements, stream, finish_sums<T, GLANCE_EPILOGUE_GELU_TANH>, sums, linear, begin,
                  end);
  }
  return launch(elements, stream, finish_sums<T, GLANCE_EPILOGUE_GATED_RESIDUAL>, sums, linear,
                begin, end);
}

}  // namespace

glance_status join_cuda(const JoinParams &p, glance_dtype dtype, cudaStream_t stream) noexcept {
  const LaunchShape chunks = shape(int64_t{p.rows} * (p.columns / kChunk));
  if (dtype == GLANCE_F32) {
    return cuda_status("join: launch", launch(chunks, stream, join<uint32_t>, p));
  }
  return cuda_status("join: launch", launch(chunks, stream, join<uint16_t>, p));
}

glance_status finish_sums_cuda(const float *sums, const LinearParams &linear, int32_t begin,
                               int32_t end, glance_dtype dtype, cudaStream_t stream) noexcept {
  cudaError_t error;
  if (dtype == GLANCE_F32) {
    error = launch_finish_sums<float>(sums, linear, begin, end, stream);
  } else if (dtype == GLANCE_BF16) {
    error = launch_finish_sums<bf16>(sums, linear, begin, end, stream);
  } else {
    error = launch_finish_sums<f16>(sums, linear, begin, end, stream);
  }
  return cuda_status("finish_sums: launch", error);
}

}  // namespace glance
