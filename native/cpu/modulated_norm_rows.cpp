// modulated_norm, the loops without the projection; compiled once per instruction set.
//
// Formula: glance/modulated_norm.h. Matrices of rows x columns, row-major with a stride; 100 x 192
// to 4608 x 3072, one row of scale and shift for many rows. Reads x, writes y: for f32 8 bytes and
// some 9 operations an element, so memory decides; a row is read three times (mean, variance,
// result), the last two from the first-level cache. f32 arithmetic, no fused multiply-add and sums
// in one order (math/norm.h), so that all instruction sets agree. No alignment beyond the
// element's.
//
// Measured, one core of a virtual Zen 4, GCC 12, November 2026, LAYER, baseline / AVX2 / AVX-512 /
// AVX512-BF16: 105 x 192 f32 9.7 / 7.9 / 5.9 / 5.9 us, bf16 29 / 12 / 9.2 / 8.2 us (a copy: 1.5 and
// 0.8 us); 4608 x 3072 8.2 ms in f32, 4.4 ms in bf16 (a copy: 5.6 and 2.0 ms).
#include <cstdint>

#include "cpu/isa.h"
#include "cpu/modulated_norm.h"
#include "cpu/vectors.h"
#include "math/norm.h"

namespace glance {
namespace {

struct Statistics {
  float mean;
  float inverse;
};

template <typename T>
Statistics statistics(const T *x, int64_t columns, glance_norm norm, float epsilon) {
  float mean = 0.0f;
  if (norm == GLANCE_NORM_LAYER) {
    mean = row_sum(x, columns, 0.0f, [](Floats v) { return v; }) / static_cast<float>(columns);
  }
  const float squares = row_sum(x, columns, mean, [mean](Floats v) {
    const Floats deviation = v - mean;
    return deviation * deviation;
  });
  return {mean, inverse_root_mean(squares, columns, epsilon)};
}

// No __restrict: y may be x. A null scale or shift is a row of zeros.
template <typename T>
void norm_row(const T *x, const T *scale, const T *shift, T *y, int64_t columns, Statistics s) {
  for_vectors(columns, [=](int64_t i, auto part) {
    const Floats n = normalized(load(x + i, part), s.mean, s.inverse);
    const Floats by = scale == nullptr ? Floats{} : load(scale + i, part);
    const Floats plus = shift == nullptr ? Floats{} : load(shift + i, part);
    store(y + i, modulated(n, by, plus), part);
  });
}

template <typename T>
const T *group_row(const void *base, int64_t row, int64_t rows_per_group, int64_t stride) {
  if (base == nullptr) return nullptr;
  return static_cast<const T *>(base) + row / rows_per_group * stride;
}

template <typename T>
void norm_rows(const glance_modulated_norm_args &a, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const T *x = static_cast<const T *>(a.x) + r * a.x_stride;
    norm_row(x, group_row<T>(a.scale, r, a.rows_per_group, a.scale_stride),
             group_row<T>(a.shift, r, a.rows_per_group, a.shift_stride),
             static_cast<T *>(a.y) + r * a.y_stride, a.columns,
             statistics(x, a.columns, a.norm, a.epsilon));
  }
}

}  // namespace

void GLANCE_FOR_ISA(modulated_norm_rows)(const glance_modulated_norm_args &args, int64_t begin,
                                         int64_t end) noexcept {
  if (args.dtype == GLANCE_F32) return norm_rows<float>(args, begin, end);
  norm_rows<bf16>(args, begin, end);
}

}  // namespace glance
