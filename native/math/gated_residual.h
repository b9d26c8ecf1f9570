// What a layer adds to the hidden state.
#pragma once

#include "math/host_device.h"

namespace glance {

GLANCE_MATH float gated_residual(float residual, float gate, float update) {
  return residual + gate * update;
}

}  // namespace glance
