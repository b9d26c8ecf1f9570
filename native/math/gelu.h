// GELU in its tanh form (arXiv 1606.08415), and the exponential it needs.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/host_device.h"

namespace glance {

// e^x within 2 units in the last place for |x| <= 87; beyond that the value at the bound. No
// branches and no calls, so that loops over it vectorise, and the same bits on every instruction set
// and device. x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7.
GLANCE_MATH float exp_f32(float x) {
  const float low = x < -87.0f ? -87.0f : x;
  const float bounded = low > 87.0f ? 87.0f : low;
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
  const float shifted = bounded * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  // ln 2 in two parts: the first has so few bits that n times it is exact.
  const float r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}

// s/2 * (1 + tanh(t)) = s / (1 + e^(-2t)), t = sqrt(2/pi) * (s + 0.044715 s^3).
GLANCE_MATH float gelu_tanh(float s) {
  const float t = 0.797884561f * (s + 0.044715f * (s * s * s));
  return s / (1.0f + exp_f32(-2.0f * t));
}

}  // namespace glance
