// GELU in its tanh form (arXiv 1606.08415); Values is a float or a vector of them.
#pragma once

#include "math/exp.h"
#include "math/host_device.h"

namespace glance {

// s/2 * (1 + tanh(t)) = s / (1 + e^(-2t)), t = sqrt(2/pi) * (s + 0.044715 s^3).
template <typename Values>
GLANCE_MATH Values gelu_tanh(Values s) {
  const Values t = (s + s * s * s * 0.044715f) * 0.797884561f;
  const Values divisor = exp_f32<Values>(t * -2.0f) + 1.0f;
#ifdef __CUDA_ARCH__
  return __fdividef(s, divisor);  // exact to 2 units up to a divisor of 2^126; e^87 is below that
#else
  return s / divisor;
#endif
}

}  // namespace glance
