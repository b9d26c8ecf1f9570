// glance_flow_step against a float64 oracle and against the f32 chain of separate operations, for
// every instruction set of this machine: ragged sizes, strides, odd addresses, NaN and infinity,
// and every argument that must be refused.
#include "cpu/flow_step.h"

#include <glance/flow_step.h>

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "math/bf16.h"

namespace {

using glance::bf16;
using glance::to_bf16;
using glance::to_f32;

int failures = 0;
int checks = 0;

void expect(bool condition, const std::string &what) {
  ++checks;
  if (condition) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

struct Variant {
  const char *name;
  void (*run)(const glance_flow_step_args &) noexcept;
};

std::vector<Variant> variants() {
  std::vector<Variant> all = {{"baseline", glance::flow_step_rows_baseline}};
#if defined(GLANCE_X86)
  const glance::Isa best = glance::best_isa();
  if (best >= glance::Isa::avx2) all.push_back({"avx2", glance::flow_step_rows_avx2});
  if (best >= glance::Isa::avx512) all.push_back({"avx512", glance::flow_step_rows_avx512});
#endif
  return all;
}

// A matrix in a buffer with a gap after each row and an offset before the first, all poisoned.
struct Buffer {
  static constexpr unsigned char kPoison = 0xA5;
  glance_dtype dtype;
  int64_t rows, columns, stride, offset;
  std::vector<unsigned char> bytes;

  Buffer(glance_dtype type, int64_t r, int64_t c, int64_t gap, int64_t skip)
      : dtype(type), rows(r), columns(c), stride(c + gap), offset(skip) {
    bytes.assign(static_cast<size_t>((offset + rows * stride) * size()), kPoison);
  }
  int64_t size() const { return dtype == GLANCE_F32 ? 4 : 2; }
  void *data() { return bytes.data() + offset * size(); }
  const unsigned char *at(int64_t r, int64_t c) const {
    return bytes.data() + (offset + r * stride + c) * size();
  }
  float get(int64_t r, int64_t c) const {
    float wide;
    bf16 narrow;
    if (dtype == GLANCE_F32) {
      std::memcpy(&wide, at(r, c), sizeof wide);
      return wide;
    }
    std::memcpy(&narrow, at(r, c), sizeof narrow);
    return to_f32(narrow);
  }
  void set(int64_t r, int64_t c, float value) {
    unsigned char *place = const_cast<unsigned char *>(at(r, c));
    const bf16 narrow = to_bf16(value);
    if (dtype == GLANCE_F32) {
      std::memcpy(place, &value, sizeof value);
    } else {
      std::memcpy(place, &narrow, sizeof narrow);
    }
  }
  void fill(std::mt19937 &random) {
    std::normal_distribution<float> normal;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) set(r, c, normal(random));
    }
  }
  bool gaps_untouched() const {
    for (int64_t i = 0; i < offset * size(); ++i) {
      if (bytes[static_cast<size_t>(i)] != kPoison) return false;
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (const unsigned char *p = at(r, columns); p < at(r, stride); ++p) {
        if (*p != kPoison) return false;
      }
    }
    return true;
  }
};

struct Case {
  int64_t rows, columns, gap, offset;
  glance_dtype latents, velocity;
  glance_cfg_mode mode;
  glance_rounding rounding;
  bool copy;

  std::string name(const char *variant) const {
    char text[160];
    std::snprintf(text, sizeof text,
                  "%s rows=%" PRId64 " columns=%" PRId64 " gap=%" PRId64 " offset=%" PRId64
                  " latents=%d velocity=%d mode=%d rounding=%d copy=%d",
                  variant, rows, columns, gap, offset, latents, velocity, mode, rounding, copy);
    return text;
  }
};

struct Problem {
  Buffer latents, v_pos, v_neg, copy;
  glance_flow_step_args args = {};

  Problem(const Case &c, unsigned seed)
      : latents(c.latents, c.rows, c.columns, c.gap, c.offset),
        v_pos(c.velocity, c.rows, c.columns, 2 * c.gap, c.offset),
        v_neg(c.velocity, c.rows, c.columns, 3 * c.gap, c.offset),
        copy(GLANCE_BF16, c.rows, c.columns, c.gap, c.offset) {
    std::mt19937 random(seed);
    latents.fill(random);
    v_pos.fill(random);
    v_neg.fill(random);
    args.cfg_mode = c.mode;
    args.rounding = c.rounding;
    args.cfg_scale = 3.7f;
    args.sigma = 0.943f;
    args.sigma_next = 0.611f;
    point(c.copy);
  }
  Problem(const Problem &other)
      : latents(other.latents),
        v_pos(other.v_pos),
        v_neg(other.v_neg),
        copy(other.copy),
        args(other.args) {
    point(other.args.latents_bf16 != nullptr);
  }
  // The struct names this object's own buffers, so a copy must be pointed anew.
  void point(bool with_copy) {
    args.struct_size = sizeof args;
    args.latents = latents.data();
    args.v_pos = v_pos.data();
    args.v_neg = args.cfg_mode == GLANCE_CFG_NONE ? nullptr : v_neg.data();
    args.latents_bf16 = with_copy ? copy.data() : nullptr;
    args.rows = latents.rows;
    args.columns = latents.columns;
    args.latents_stride = latents.stride;
    args.v_pos_stride = v_pos.stride;
    args.v_neg_stride = v_neg.stride;
    args.latents_bf16_stride = copy.stride;
    args.latents_dtype = latents.dtype;
    args.velocity_dtype = v_pos.dtype;
  }
};

// The formula in float64, with nothing rounded on the way.
double exact(const Problem &before, int64_t r, int64_t c) {
  const glance_flow_step_args &a = before.args;
  const auto combined = [&](int64_t i) {
    const double p = before.v_pos.get(r, i);
    if (a.cfg_mode == GLANCE_CFG_NONE) return p;
    const double n = before.v_neg.get(r, i);
    return n + static_cast<double>(a.cfg_scale) * (p - n);
  };
  double v = combined(c);
  if (a.cfg_mode == GLANCE_CFG_RESCALED) {
    double positive = 0, both = 0;
    for (int64_t i = 0; i < a.columns; ++i) {
      positive += std::pow(before.v_pos.get(r, i), 2);
      both += std::pow(combined(i), 2);
    }
    v *= std::sqrt(positive) / std::sqrt(both);
  }
  return before.latents.get(r, c) + (static_cast<double>(a.sigma_next) - a.sigma) * v;
}

// The chain of separate f32 operations: each result passes through memory, so nothing contracts.
float chained(const Problem &before, int64_t r, int64_t c) {
  const glance_flow_step_args &a = before.args;
  const bool narrow = a.rounding == GLANCE_ROUND_EACH && a.velocity_dtype == GLANCE_BF16;
  const auto rounded = [&](float x) { return narrow ? to_f32(to_bf16(x)) : x; };
  volatile float v = before.v_pos.get(r, c);
  if (a.cfg_mode == GLANCE_CFG_PLAIN) {
    const volatile float difference = rounded(v - before.v_neg.get(r, c));
    const volatile float scaled = rounded(a.cfg_scale * difference);
    v = rounded(before.v_neg.get(r, c) + scaled);
  }
  const volatile float dt = a.sigma_next - a.sigma;
  const volatile float product = rounded(dt * v);
  return before.latents.get(r, c) + product;
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

double tolerance(const Case &c, double scale) {
  const bool each = c.rounding == GLANCE_ROUND_EACH && c.velocity == GLANCE_BF16;
  const double f32_error = 16 * 6e-8 * scale;  // some ten roundings; the norm's mostly cancel
  const double bf16_error = scale * 4e-3;
  return f32_error + (each ? 4 * bf16_error : 0) + (c.latents == GLANCE_BF16 ? bf16_error : 0);
}

void check_values(const Case &c, const Problem &before, const Problem &after,
                  const std::string &name) {
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t i = 0; i < c.columns; ++i) {
      const std::string where = name + " at " + std::to_string(r) + "," + std::to_string(i);
      const float got = after.latents.get(r, i);
      const double want = exact(before, r, i);
      expect(std::fabs(got - want) <= tolerance(c, std::fabs(want) + 12),
             where + ": " + std::to_string(got) + ", float64 says " + std::to_string(want));
      if (c.mode != GLANCE_CFG_RESCALED) {
        const float chain = chained(before, r, i);
        const float stored = c.latents == GLANCE_F32 ? chain : to_f32(to_bf16(chain));
        expect(same_bits(got, stored), where + ": not the bits of separate operations");
        if (c.copy) {
          expect(same_bits(after.copy.get(r, i), to_f32(to_bf16(chain))), where + ": bf16 copy");
        }
      } else if (c.copy && c.latents == GLANCE_F32) {
        expect(same_bits(after.copy.get(r, i), to_f32(to_bf16(got))), where + ": bf16 copy");
      }
    }
  }
}

void check_case(const Case &c, unsigned seed) {
  const Problem before(c, seed);
  Problem baseline(before);
  glance::flow_step_rows_baseline(baseline.args);
  for (const Variant &variant : variants()) {
    const std::string name = c.name(variant.name) + " seed=" + std::to_string(seed);
    Problem after(before);
    variant.run(after.args);
    check_values(c, before, after, name);
    expect(after.latents.bytes == baseline.latents.bytes, name + ": bits differ from baseline");
    expect(after.copy.bytes == baseline.copy.bytes, name + ": copy's bits differ from baseline");
    expect(after.latents.gaps_untouched() && after.copy.gaps_untouched(), name + ": wrote a gap");
    expect(c.copy || after.copy.bytes == before.copy.bytes, name + ": wrote no one's copy");
    expect(after.v_pos.bytes == before.v_pos.bytes && after.v_neg.bytes == before.v_neg.bytes,
           name + ": wrote an input");
  }
}

void values() {
  unsigned seed = std::random_device()();
  std::printf("first seed %u\n", seed);
  const glance_dtype types[] = {GLANCE_F32, GLANCE_BF16};
  const int64_t sizes[][2] = {{1, 1}, {3, 15}, {2, 16}, {5, 17}, {7, 64}, {2, 127}};
  for (const auto &size : sizes) {
    for (int64_t gap = 0; gap < 2; ++gap) {
      for (glance_dtype latents : types) {
        for (glance_dtype velocity : types) {
          for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
            // One column rescaled is |v_pos| with the sign of a difference, which rounding may
            // flip.
            if (mode == GLANCE_CFG_RESCALED && size[1] == 1) continue;
            for (glance_rounding rounding : {GLANCE_ROUND_ONCE, GLANCE_ROUND_EACH}) {
              for (bool copy : {false, true}) {
                check_case(
                    {size[0], size[1], gap, 2 * gap + 1, latents, velocity, mode, rounding, copy},
                    seed++);
              }
            }
          }
        }
      }
    }
  }
}

void special_values() {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
    for (glance_dtype type : {GLANCE_F32, GLANCE_BF16}) {
      Problem p({3, 19, 0, 0, type, type, mode, GLANCE_ROUND_ONCE, true}, 7);
      p.v_pos.set(0, 2, nan);
      p.v_pos.set(1, 18, inf);
      expect(glance_flow_step(&p.args, nullptr) == GLANCE_OK, "NaN and infinity are no error");
      expect(std::isnan(p.latents.get(0, 2)) && std::isnan(p.copy.get(0, 2)), "NaN stays NaN");
      expect(!std::isfinite(p.latents.get(1, 18)), "infinity stays not finite");
      for (int64_t c = 0; c < 19; ++c) {
        expect(std::isfinite(p.latents.get(2, c)), "another row is not touched by NaN");
      }
    }
  }
  Problem zero({1, 20, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_RESCALED, GLANCE_ROUND_ONCE, false},
               7);
  const Problem before(zero);
  std::memset(zero.v_pos.data(), 0, 20 * sizeof(float));
  std::memset(zero.v_neg.data(), 0, 20 * sizeof(float));
  expect(glance_flow_step(&zero.args, nullptr) == GLANCE_OK, "zero velocities");
  expect(zero.latents.bytes == before.latents.bytes, "zero velocities leave the latents");
}

void refused(const char *argument, const std::function<void(Problem &)> &spoil) {
  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_BF16, GLANCE_CFG_PLAIN, GLANCE_ROUND_ONCE, true}, 3);
  const Problem before(p);
  spoil(p);
  expect(glance_flow_step(&p.args, nullptr) == GLANCE_INVALID_ARGUMENT,
         std::string("refuses a wrong ") + argument);
  expect(std::strstr(glance_last_error(), argument) != nullptr,
         std::string(argument) + " is not named by: " + glance_last_error());
  expect(p.latents.bytes == before.latents.bytes, std::string(argument) + ": wrote all the same");
}

void refusals() {
  const float inf = std::numeric_limits<float>::infinity();
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  refused("struct_size", [](Problem &p) { p.args.struct_size -= 8; });
  refused("latents", [](Problem &p) { p.args.latents = nullptr; });
  refused("v_pos", [](Problem &p) { p.args.v_pos = nullptr; });
  refused("v_neg", [](Problem &p) { p.args.v_neg = nullptr; });
  refused("v_neg", [](Problem &p) { p.args.cfg_mode = GLANCE_CFG_NONE; });
  refused("rows", [](Problem &p) { p.args.rows = -1; });
  refused("columns", [](Problem &p) { p.args.columns = -1; });
  refused("latents_stride", [](Problem &p) { p.args.latents_stride = 7; });
  refused("v_pos_stride", [](Problem &p) { p.args.v_pos_stride = 0; });
  refused("v_neg_stride", [](Problem &p) { p.args.v_neg_stride = -8; });
  refused("latents_bf16_stride", [](Problem &p) { p.args.latents_bf16_stride = 1; });
  refused("v_pos", [=](Problem &p) { p.args.v_pos_stride = huge; });
  refused("latents_dtype", [](Problem &p) { p.args.latents_dtype = GLANCE_F16; });
  refused("velocity_dtype", [](Problem &p) { p.args.velocity_dtype = 0; });
  refused("cfg_mode", [](Problem &p) { p.args.cfg_mode = 3; });
  refused("rounding", [](Problem &p) { p.args.rounding = 2; });
  refused("device", [](Problem &p) { p.args.device = 2; });
  refused("device_index", [](Problem &p) { p.args.device_index = 1; });
  refused("reserved", [](Problem &p) { p.args.reserved = 1; });
  refused("sigma", [=](Problem &p) { p.args.sigma = inf - inf; });
  refused("sigma_next", [=](Problem &p) { p.args.sigma_next = inf; });
  refused("cfg_scale", [=](Problem &p) { p.args.cfg_scale = inf; });
  refused("not aligned",
          [](Problem &p) { p.args.latents = static_cast<unsigned char *>(p.args.latents) + 1; });
  refused("latents overlaps v_pos", [](Problem &p) { p.args.v_pos = p.args.latents; });
  refused("latents_bf16 overlaps latents",
          [](Problem &p) { p.args.latents_bf16 = p.args.latents; });

  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_NONE, GLANCE_ROUND_ONCE, false}, 3);
  int not_a_stream = 0;
  expect(glance_flow_step(&p.args, &not_a_stream) == GLANCE_INVALID_ARGUMENT, "stream on CPU");
  p.args.rows = 0;
  p.args.latents = nullptr;
  p.args.v_pos = nullptr;
  expect(glance_flow_step(&p.args, nullptr) == GLANCE_OK, "nothing to do is no error");
}

}  // namespace

int main() {
  values();
  special_values();
  refusals();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
