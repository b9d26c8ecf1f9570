// The formulas of glance/modulated_norm.h, and of the norm in glance/qk_norm_rope.h; Values is a
// float or a vector of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/host_device.h"

namespace glance {

// A row's sum is kept in this many partial sums, element i in sum i % kSumLanes, which are then
// folded in halves (0 += 16, ... then 0 += 8, ...). The order is part of the result, so that
// vectors of any width give the same bits. 32: two AVX-512 registers, eight of SSE's sixteen, and
// hardly a head of an attention layer is narrower.
constexpr int kSumLanes = 32;

// 1 / sqrt(mean of the squares + epsilon).
GLANCE_MATH float inverse_root_mean(float squares, int64_t count, float epsilon) {
  return 1.0f / sqrtf(squares / static_cast<float>(count) + epsilon);
}

template <typename Values>
GLANCE_MATH Values normalized(Values x, float mean, float inverse) {
  return (x - mean) * inverse;
}

template <typename Values>
GLANCE_MATH Values modulated(Values n, Values scale, Values shift) {
  return n * (1.0f + scale) + shift;
}

}  // namespace glance
