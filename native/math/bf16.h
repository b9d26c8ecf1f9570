// bfloat16 as storage: the upper half of an f32. Arithmetic is always in f32.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/host_device.h"

namespace glance {

struct bf16 {
  uint16_t bits;
};

GLANCE_MATH float to_f32(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Nearest, ties to even. NaN needs its own case: the rounding carry would turn some into infinity.
GLANCE_MATH bf16 to_bf16(float x) {
#ifdef __CUDA_ARCH__
  // The hardware's own: the same but for a NaN's bits.
  uint16_t nearest;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(nearest) : "f"(x));
  return bf16{nearest};
#else
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40u;
  const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
  return bf16{static_cast<uint16_t>(nan ? quiet : rounded)};
#endif
}

}  // namespace glance
