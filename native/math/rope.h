// The rotation of glance/qk_norm_rope.h, for a float or a vector of them.
#pragma once

#include "math/host_device.h"

namespace glance {

// One of a pair's two values, own, with the other and sin for the second (2j + 1), with -sin for
// the first (2j): the pair's two lines in one formula, as a vector holds both kinds side by side.
template <typename Values>
GLANCE_MATH Values rotated(Values own, Values other, Values cos, Values signed_sin) {
  return own * cos + other * signed_sin;
}

}  // namespace glance
