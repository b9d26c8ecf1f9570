// The formulas of glance/flow_step.h for one element, and the one way its norms are summed.
#pragma once

#include <cmath>

#include "math/element.h"
#include "math/host_device.h"

namespace glance {

// Rounds an intermediate result to Velocity if every operation rounds, else leaves it in f32.
template <typename Velocity, bool kEach>
GLANCE_MATH float intermediate(float x) {
  if constexpr (kEach) {
    return to_f32(from_f32<Velocity>(x));
  } else {
    return x;
  }
}

template <typename Velocity, bool kEach>
GLANCE_MATH float cfg_combine(float positive, float negative, float scale) {
  const float difference = intermediate<Velocity, kEach>(positive - negative);
  return intermediate<Velocity, kEach>(negative +
                                       intermediate<Velocity, kEach>(scale * difference));
}

// |v_pos| / |comb| from the two sums of squares.
template <typename Velocity, bool kEach>
GLANCE_MATH float cfg_rescale_factor(float positive_squares, float combined_squares) {
  if (combined_squares == 0.0f) {
    return 1.0f;  // comb is all zero and stays so, where 0/0 would make the row NaN
  }
  const float positive = intermediate<Velocity, kEach>(sqrtf(positive_squares));
  const float combined = intermediate<Velocity, kEach>(sqrtf(combined_squares));
  return intermediate<Velocity, kEach>(positive / combined);
}

template <typename Velocity, bool kEach>
GLANCE_MATH float euler(float latent, float velocity, float dt) {
  return latent + intermediate<Velocity, kEach>(dt * velocity);
}

// A row's sum of squares is kept in this many partial sums, element i in sum i % kNormLanes, which
// are then folded in halves (0 += 8, ... then 0 += 4, ...). The order is part of the result: CPU
// vectors of any width and CUDA's shuffles all follow it, so all give the same bits.
constexpr int kNormLanes = 16;

}  // namespace glance
