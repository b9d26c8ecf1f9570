// The exponential, in one form for every backend.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/host_device.h"

namespace glance {

// The bits of a float, or of each lane of a vector of them.
template <typename Values>
struct BitsOf {
  typedef uint32_t Type __attribute__((vector_size(sizeof(Values))));
};
template <>
struct BitsOf<float> {
  typedef uint32_t Type;
};

// e^x within 2 units in the last place for |x| <= 87; beyond that the value at the bound. No
// branches and no calls, and wherever the compiler fuses nothing the same bits on every CPU; Values
// is a float or a vector of them. x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7.
template <typename Values>
GLANCE_MATH Values exp_f32(Values x) {
  const Values least = Values{} - 87.0f;
  const Values most = Values{} + 87.0f;
  const Values low = x < least ? least : x;  // NaN stays
  const Values bounded = low > most ? most : low;
#ifdef __CUDA_ARCH__
  // The hardware's own, within 2 + |x| units in the last place.
  return __expf(bounded);
#else
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
  const Values shifted = bounded * 1.44269504f + 12582912.0f;
  const Values n = shifted - 12582912.0f;
  // ln 2 in two parts: the first has so few bits that n times it is exact.
  const Values r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
  Values p = r * 1.98412698e-4f + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  typename BitsOf<Values>::Type bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;
  Values power;
  memcpy(&power, &bits, sizeof power);
  return p * power;
#endif
}

}  // namespace glance
