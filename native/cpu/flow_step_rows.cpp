// flow_step, the loops; compiled once per instruction set.
//
// Formula: glance/flow_step.h. Matrices of rows x columns, row-major with a stride; typically 64 to
// 8192 rows of 64 columns. Reads latents and one or two velocities, writes latents and optionally a
// bf16 copy: for f32 with CFG 16 bytes and some 6 operations an element, so memory decides. The
// loops are plain, for the compiler to vectorise; RESCALED reads the velocities twice, the second
// time from the first-level cache. No alignment beyond the element's.
//
// Measured, 4096 x 64, f32 latents, bf16 velocities and copy, one core of a virtual Xeon with AMX,
// GCC 12, November 2026 (baseline / AVX2 / AVX-512): NONE 152 / 79 / 49 us, PLAIN 198 / 105 / 73,
// RESCALED 337 / 241 / 172.
#include <cstdint>

#include "cpu/flow_step.h"
#include "cpu/isa.h"
#include "math/flow_step.h"

namespace glance {
namespace {

// One row, or with contiguous matrices and no norm all rows as one.
template <typename Latent, typename Velocity>
struct Row {
  Latent *__restrict latents;
  const Velocity *__restrict positive;
  const Velocity *__restrict negative;
  bf16 *__restrict copy;
  int64_t columns;
};

template <typename Velocity, bool kEach, bool kCfg>
GLANCE_MATH float combined(const Velocity *positive, const Velocity *negative, int64_t i,
                           float scale) {
  if constexpr (kCfg) {
    return cfg_combine<Velocity, kEach>(to_f32(positive[i]), to_f32(negative[i]), scale);
  } else {
    return to_f32(positive[i]);
  }
}

float folded(float *sums) {
  for (int half = kNormLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

template <typename Velocity, bool kEach>
float rescale_factor(const Velocity *__restrict positive, const Velocity *__restrict negative,
                     int64_t columns, float scale) {
  float positive_squares[kNormLanes] = {};
  float combined_squares[kNormLanes] = {};
  const auto add = [&](int64_t i, int lane) {
    const float p = to_f32(positive[i]);
    const float c = combined<Velocity, kEach, true>(positive, negative, i, scale);
    positive_squares[lane] += p * p;
    combined_squares[lane] += c * c;
  };
  const int64_t whole = columns - columns % kNormLanes;
  for (int64_t i = 0; i < whole; i += kNormLanes) {
    for (int lane = 0; lane < kNormLanes; ++lane) add(i + lane, lane);
  }
  for (int64_t i = whole; i < columns; ++i) add(i, static_cast<int>(i - whole));
  return cfg_rescale_factor<Velocity, kEach>(folded(positive_squares), folded(combined_squares));
}

template <typename Latent, typename Velocity, bool kEach, int32_t kMode>
void update(const Row<Latent, Velocity> &row, float scale, float dt) {
  constexpr bool kCfg = kMode != GLANCE_CFG_NONE;
  Latent *__restrict latents = row.latents;
  const Velocity *__restrict positive = row.positive;
  const Velocity *__restrict negative = row.negative;
  bf16 *__restrict copy = row.copy;
  [[maybe_unused]] float factor = 1.0f;
  if constexpr (kMode == GLANCE_CFG_RESCALED) {
    factor = rescale_factor<Velocity, kEach>(positive, negative, row.columns, scale);
  }
  const auto next = [&](int64_t i) {
    float v = combined<Velocity, kEach, kCfg>(positive, negative, i, scale);
    if constexpr (kMode == GLANCE_CFG_RESCALED) v = intermediate<Velocity, kEach>(v * factor);
    return euler<Velocity, kEach>(to_f32(latents[i]), v, dt);
  };
  if (copy == nullptr) {
    for (int64_t i = 0; i < row.columns; ++i) latents[i] = from_f32<Latent>(next(i));
  } else {
    for (int64_t i = 0; i < row.columns; ++i) {
      const float value = next(i);
      latents[i] = from_f32<Latent>(value);
      copy[i] = from_f32<bf16>(value);
    }
  }
}

bool contiguous(const glance_flow_step_args &a) {
  return a.latents_stride == a.columns && a.v_pos_stride == a.columns &&
         (a.v_neg == nullptr || a.v_neg_stride == a.columns) &&
         (a.latents_bf16 == nullptr || a.latents_bf16_stride == a.columns);
}

template <typename T>
T *at(T *base, int64_t index) {
  return base == nullptr ? nullptr : base + index;
}

template <typename Latent, typename Velocity, bool kEach, int32_t kMode>
void update_rows(const glance_flow_step_args &a) {
  auto *latents = static_cast<Latent *>(a.latents);
  const auto *positive = static_cast<const Velocity *>(a.v_pos);
  const auto *negative = static_cast<const Velocity *>(a.v_neg);
  auto *copy = static_cast<bf16 *>(a.latents_bf16);
  const float dt = a.sigma_next - a.sigma;
  const bool flat = kMode != GLANCE_CFG_RESCALED && contiguous(a);
  const int64_t rows = flat ? 1 : a.rows;
  const int64_t columns = flat ? a.rows * a.columns : a.columns;
  for (int64_t r = 0; r < rows; ++r) {
    const Row<Latent, Velocity> row = {
        latents + r * a.latents_stride, positive + r * a.v_pos_stride,
        at(negative, r * a.v_neg_stride), at(copy, r * a.latents_bf16_stride), columns};
    update<Latent, Velocity, kEach, kMode>(row, a.cfg_scale, dt);
  }
}

template <typename Latent, typename Velocity, bool kEach>
void for_mode(const glance_flow_step_args &a) {
  switch (a.cfg_mode) {
    case GLANCE_CFG_PLAIN:
      return update_rows<Latent, Velocity, kEach, GLANCE_CFG_PLAIN>(a);
    case GLANCE_CFG_RESCALED:
      return update_rows<Latent, Velocity, kEach, GLANCE_CFG_RESCALED>(a);
    default:
      return update_rows<Latent, Velocity, kEach, GLANCE_CFG_NONE>(a);
  }
}

template <typename Latent>
void for_velocity(const glance_flow_step_args &a) {
  if (a.velocity_dtype == GLANCE_F32) return for_mode<Latent, float, false>(a);
  if (a.rounding == GLANCE_ROUND_EACH) return for_mode<Latent, bf16, true>(a);
  return for_mode<Latent, bf16, false>(a);
}

}  // namespace

void GLANCE_FOR_ISA(flow_step_rows)(const glance_flow_step_args &args) noexcept {
  if (args.latents_dtype == GLANCE_F32) return for_velocity<float>(args);
  for_velocity<bf16>(args);
}

}  // namespace glance
