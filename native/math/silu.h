// SiLU (arXiv 1702.03118); Values is a float or a vector of them.
#pragma once

#include "math/exp.h"
#include "math/host_device.h"

namespace glance {

template <typename Values>
GLANCE_MATH Values silu(Values x) {
  return x / (exp_f32<Values>(-x) + 1.0f);
}

}  // namespace glance
