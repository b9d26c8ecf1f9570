// The element types of tensors, and how values go from and to f32, in which all arithmetic is.
#pragma once

#include <type_traits>

#include "math/bf16.h"
#include "math/f16.h"
#include "math/host_device.h"

namespace glance {

GLANCE_MATH float to_f32(float x) { return x; }

template <typename T>
GLANCE_MATH T from_f32(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(x);
  } else if constexpr (std::is_same_v<T, f16>) {
    return to_f16(x);
  } else {
    return x;
  }
}

}  // namespace glance
