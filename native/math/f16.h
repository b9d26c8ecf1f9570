// IEEE half precision as storage. Arithmetic is always in f32.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/host_device.h"

namespace glance {

struct f16 {
  uint16_t bits;
};

GLANCE_MATH float to_f32(f16 x) {
#ifdef __CUDA_ARCH__
  // The hardware's own: the same but for a NaN's bits. So in to_f16.
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x.bits));
  return wide;
#else
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  const uint32_t rest = static_cast<uint32_t>(x.bits & 0x7FFFu) << 13;
  const uint32_t exponent = rest & 0x0F800000u;
  float value;
  if (exponent == 0x0F800000u) {  // infinity and NaN
    const uint32_t bits = sign | rest | 0x7F800000u;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
  // 2^112 moves the exponent's bias; subnormals become normal on the way.
  memcpy(&value, &rest, sizeof value);
  value *= 5.192296858534828e33f;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

// Nearest, ties to even; above 65519.99 infinity.
GLANCE_MATH f16 to_f16(float x) {
#ifdef __CUDA_ARCH__
  uint16_t nearest;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(nearest) : "f"(x));
  return f16{nearest};
#else
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return f16{static_cast<uint16_t>(sign | 0x7E00u)};
  if (magnitude >= 0x477FF000u) return f16{static_cast<uint16_t>(sign | 0x7C00u)};
  if (magnitude < 0x38800000u) {
    // Adding 0.5 rounds to a multiple of 2^-24, the smallest subnormal, in the last bits.
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value += 0.5f;
    memcpy(&bits, &value, sizeof bits);
    return f16{static_cast<uint16_t>(sign | (bits - 0x3F000000u))};
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return f16{static_cast<uint16_t>(sign | (rounded >> 13))};
#endif
}

}  // namespace glance
