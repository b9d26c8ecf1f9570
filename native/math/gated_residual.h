// What a layer adds to the hidden state; Values is a float or a vector of them.
#pragma once

#include "math/host_device.h"

namespace glance {

template <typename Values>
GLANCE_MATH Values gated_residual(Values residual, Values gate, Values update) {
  return residual + gate * update;
}

}  // namespace glance
