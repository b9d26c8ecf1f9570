// One row of modulated_norm by one warp, from global or from shared memory.
#pragma once

#include <glance/modulated_norm.h>

#include <cstdint>

#include "cuda/ptx.h"
#include "cuda/row_block.h"
#include "cuda/row_vectors.h"
#include "math/norm.h"

namespace glance {

struct NormParams {
  const void *x;
  void *y;
  const void *scale;
  const void *shift;
  int64_t rows, columns;
  int64_t x_stride, y_stride, scale_stride, shift_stride;
  int64_t rows_per_group;
  float epsilon;
  glance_norm norm;
  // Of a row in shared memory.
  int32_t row_bytes;
};

GLANCE_DEVICE float warp_sum(float sum) {
#pragma unroll
  for (int half = 16; half > 0; half /= 2) sum += shuffle_xor(sum, half);
  return sum;
}

// In pairs, for a shorter chain of additions than one after the other.
template <int kCount>
GLANCE_DEVICE float sum_of(const float (&values)[kCount]) {
  float sums[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) sums[i] = values[i];
#pragma unroll
  for (int half = kCount / 2; half > 0; half /= 2) {
#pragma unroll
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// This lane's places in a row are first, first + 32 kCount, ...; load(values, place) gives what is
// there and store(place, values) takes the result.
template <typename T, int kCount, typename Load, typename Store>
GLANCE_DEVICE void norm_row(const NormParams &p, int64_t row, const Load &load,
                            const Store &store) {
  constexpr int kStep = 32 * kCount;
  const int64_t first = static_cast<int>(threadIdx.x) % 32 * kCount;
  float mean = 0.0f;
  if (p.norm == GLANCE_NORM_LAYER) {
    float sum = 0.0f;
#pragma unroll 4
    for (int64_t i = first; i < p.columns; i += kStep) {
      float values[kCount];
      load(values, i);
      sum += sum_of(values);
    }
    mean = warp_sum(sum) / static_cast<float>(p.columns);
  }
  float sum = 0.0f;
#pragma unroll 4
  for (int64_t i = first; i < p.columns; i += kStep) {
    float values[kCount];
    load(values, i);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const float deviation = values[e] - mean;
      values[e] = deviation * deviation;
    }
    sum += sum_of(values);
  }
  const float inverse = inverse_root_mean(warp_sum(sum), p.columns, p.epsilon);
  const int64_t group = row / p.rows_per_group;
  const T *scale_row = static_cast<const T *>(p.scale) + group * p.scale_stride;
  const T *shift_row = static_cast<const T *>(p.shift) + group * p.shift_stride;
#pragma unroll 2
  for (int64_t i = first; i < p.columns; i += kStep) {
    float values[kCount];
    float scale[kCount] = {};
    float shift[kCount] = {};
    load(values, i);
    if (p.scale != nullptr) load_elements(scale, scale_row + i);
    if (p.shift != nullptr) load_elements(shift, shift_row + i);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      values[e] = modulated(normalized(values[e], mean, inverse), scale[e], shift[e]);
    }
    store(i, values);
  }
}

// Starts to copy a row into shared memory. Each lane copies what it will itself read: there is
// nothing to wait for but its own copies. What follows the row's columns becomes zero.
template <typename T>
GLANCE_DEVICE void fetch_row(const NormParams &p, int64_t row, unsigned char *shared,
                             int32_t slot) {
  const auto *from =
      static_cast<const unsigned char *>(p.x) + row * p.x_stride * static_cast<int64_t>(sizeof(T));
  const auto bytes = static_cast<int32_t>(p.columns * static_cast<int64_t>(sizeof(T)));
  for (int32_t chunk = static_cast<int>(threadIdx.x) % 32; chunk * 16 < p.row_bytes; chunk += 32) {
    const bool inside = chunk * 16 < bytes;
    copy_async_16(shared + chunk_place(slot, chunk, p.row_bytes), inside ? from + chunk * 16 : from,
                  inside ? 16 : 0);
  }
}

// What norm_row loads from a row in shared memory.
template <typename T, int kCount>
struct FetchedRow {
  unsigned char *shared;
  int32_t slot;
  int32_t bytes;

  __device__ __forceinline__ unsigned char *at(int64_t place) const {
    return shared + chunk_place(slot, static_cast<int32_t>(place) / kCount, bytes);
  }
  __device__ __forceinline__ void operator()(float (&values)[kCount], int64_t place) const {
    load_elements(values, reinterpret_cast<const T *>(at(place)));
  }
};

}  // namespace glance
