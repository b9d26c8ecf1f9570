// glance_flow_step against a float64 oracle and against the f32 chain of separate operations, for
// every instruction set of this machine: ragged sizes, strides, odd addresses, NaN and infinity,
// and every argument that must be refused.
#include "cpu/flow_step.h"

#include <glance/flow_step.h>
#include <gtest/gtest.h>

#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "math/element.h"
#include "tests/support.h"

namespace {

using glance::to_bf16;
using glance::to_f32;
using glance_test::Buffer;

struct Case {
  int64_t rows, columns, gap, offset;
  glance_dtype latents, velocity;
  glance_cfg_mode mode;
  glance_rounding rounding;
  bool copy;

  std::string name() const {
    char text[160];
    std::snprintf(text, sizeof text,
                  "rows=%" PRId64 " columns=%" PRId64 " gap=%" PRId64 " offset=%" PRId64
                  " latents=%s velocity=%s mode=%d rounding=%d copy=%d",
                  rows, columns, gap, offset, glance_test::name(latents),
                  glance_test::name(velocity), mode, rounding, copy);
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

testing::AssertionResult wrong(int64_t row, int64_t column, const char *what, double got,
                               double want) {
  return testing::AssertionFailure()
         << what << " at " << row << "," << column << ": " << got << ", should be " << want;
}

// What the operation wrote for one element.
testing::AssertionResult element_right(const Case &c, const Problem &before, const Problem &after,
                                       int64_t row, int64_t column) {
  const float got = after.latents.get(row, column);
  const float copied = after.copy.get(row, column);
  const double want = exact(before, row, column);
  if (!(std::fabs(got - want) <= tolerance(c, std::fabs(want) + 12))) {
    return wrong(row, column, "float64", got, want);
  }
  if (c.mode != GLANCE_CFG_RESCALED) {
    const float chain = chained(before, row, column);
    const float stored = c.latents == GLANCE_F32 ? chain : to_f32(to_bf16(chain));
    if (!same_bits(got, stored)) return wrong(row, column, "separate operations", got, stored);
    if (c.copy && !same_bits(copied, to_f32(to_bf16(chain)))) {
      return wrong(row, column, "bf16 copy", copied, chain);
    }
  } else if (c.copy && c.latents == GLANCE_F32 && !same_bits(copied, to_f32(to_bf16(got)))) {
    return wrong(row, column, "bf16 copy", copied, got);
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult values_right(const Case &c, const Problem &before, const Problem &after) {
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t i = 0; i < c.columns; ++i) {
      const testing::AssertionResult element = element_right(c, before, after, r, i);
      if (!element) return element;
    }
  }
  return testing::AssertionSuccess();
}

void run(glance::Isa isa, Problem *problem) {
  const glance_test::UseIsa use(isa);
  glance::flow_step_cpu(problem->args);
}

void check_case(const Case &c, unsigned seed) {
  const Problem before(c, seed);
  Problem baseline(before);
  run(glance::Isa::baseline, &baseline);
  for (const glance::Isa isa : glance_test::isas()) {
    SCOPED_TRACE(std::string(glance_test::name(isa)) + " " + c.name() +
                 " seed=" + std::to_string(seed));
    Problem after(before);
    run(isa, &after);
    EXPECT_TRUE(values_right(c, before, after));
    EXPECT_TRUE(after.latents.bytes == baseline.latents.bytes) << "bits differ from baseline";
    EXPECT_TRUE(after.copy.bytes == baseline.copy.bytes) << "copy's bits differ from baseline";
    EXPECT_TRUE(after.latents.gaps_untouched() && after.copy.gaps_untouched()) << "wrote a gap";
    EXPECT_TRUE(c.copy || after.copy.bytes == before.copy.bytes) << "wrote no one's copy";
    EXPECT_TRUE(after.v_pos.bytes == before.v_pos.bytes && after.v_neg.bytes == before.v_neg.bytes)
        << "wrote an input";
  }
}

// Every type, rounding and output for one size and guidance.
void check_types(int64_t rows, int64_t columns, int64_t gap, glance_cfg_mode mode, unsigned *seed) {
  for (const glance_dtype latents : {GLANCE_F32, GLANCE_BF16}) {
    for (const glance_dtype velocity : {GLANCE_F32, GLANCE_BF16}) {
      for (const glance_rounding rounding : {GLANCE_ROUND_ONCE, GLANCE_ROUND_EACH}) {
        for (const bool copy : {false, true}) {
          check_case({rows, columns, gap, 2 * gap + 1, latents, velocity, mode, rounding, copy},
                     (*seed)++);
        }
      }
    }
  }
}

TEST(FlowStep, Values) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][2] = {{1, 1}, {3, 15}, {2, 16}, {5, 17}, {7, 64}, {2, 127}};
  for (const auto &size : sizes) {
    for (int64_t gap = 0; gap < 2; ++gap) {
      for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
        // One column rescaled is |v_pos| with the sign of a difference, which rounding may flip.
        if (mode == GLANCE_CFG_RESCALED && size[1] == 1) continue;
        check_types(size[0], size[1], gap, mode, &seed);
      }
    }
  }
}

TEST(FlowStep, NanAndInfinityStayInTheirRow) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const glance::Isa isa : glance_test::isas()) {
    const glance_test::UseIsa use(isa);
    for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
      for (const glance_dtype type : {GLANCE_F32, GLANCE_BF16}) {
        const Case c = {3, 19, 0, 0, type, type, mode, GLANCE_ROUND_ONCE, true};
        SCOPED_TRACE(std::string(glance_test::name(isa)) + " " + c.name());
        Problem p(c, 7);
        p.v_pos.set(0, 2, nan);
        p.v_pos.set(1, 18, inf);
        EXPECT_EQ(glance_flow_step(&p.args, nullptr), GLANCE_OK);
        EXPECT_TRUE(std::isnan(p.latents.get(0, 2)) && std::isnan(p.copy.get(0, 2)));
        EXPECT_FALSE(std::isfinite(p.latents.get(1, 18)));
        for (int64_t i = 0; i < 19; ++i) EXPECT_TRUE(std::isfinite(p.latents.get(2, i))) << i;
      }
    }
  }
}

TEST(FlowStep, ZeroVelocitiesLeaveTheLatents) {
  for (const glance::Isa isa : glance_test::isas()) {
    const glance_test::UseIsa use(isa);
    Problem p({1, 20, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_RESCALED, GLANCE_ROUND_ONCE, false},
              7);
    const Problem before(p);
    p.v_pos.fill(0.0f);
    p.v_neg.fill(0.0f);
    EXPECT_EQ(glance_flow_step(&p.args, nullptr), GLANCE_OK);
    EXPECT_TRUE(p.latents.bytes == before.latents.bytes) << glance_test::name(isa);
  }
}

TEST(FlowStep, SameBitsForAnyNumberOfThreads) {
  for (const int64_t gap : {0, 3}) {
    const Case c = {1031, 257, gap, 1, GLANCE_F32, GLANCE_BF16, GLANCE_CFG_PLAIN, GLANCE_ROUND_ONCE,
                    true};
    const Problem before(c, glance_test::first_seed());
    const auto with_threads = [&](int32_t threads) {
      const glance_test::UseThreads use(threads);
      Problem after(before);
      EXPECT_EQ(glance_flow_step(&after.args, nullptr), GLANCE_OK);
      return after;
    };
    const Problem one = with_threads(1);
    EXPECT_TRUE(values_right(c, before, one)) << "seed=" << glance_test::first_seed();
    for (const int32_t threads : {2, 3}) {
      const Problem several = with_threads(threads);
      EXPECT_TRUE(several.latents.bytes == one.latents.bytes) << threads << " threads";
      EXPECT_TRUE(several.copy.bytes == one.copy.bytes) << threads << " threads";
    }
  }
}

void expect_refused(const char *argument, const std::function<void(Problem &)> &spoil) {
  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_BF16, GLANCE_CFG_PLAIN, GLANCE_ROUND_ONCE, true}, 3);
  const Problem before(p);
  spoil(p);
  EXPECT_TRUE(glance_test::refused(glance_flow_step(&p.args, nullptr), argument));
  EXPECT_TRUE(p.latents.bytes == before.latents.bytes) << argument << ": wrote all the same";
  EXPECT_TRUE(p.copy.bytes == before.copy.bytes) << argument << ": wrote all the same";
}

TEST(FlowStep, Refusals) {
  const float inf = std::numeric_limits<float>::infinity();
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  expect_refused("struct_size", [](Problem &p) { p.args.struct_size -= 8; });
  expect_refused("latents", [](Problem &p) { p.args.latents = nullptr; });
  expect_refused("v_pos", [](Problem &p) { p.args.v_pos = nullptr; });
  expect_refused("v_neg", [](Problem &p) { p.args.v_neg = nullptr; });
  expect_refused("v_neg", [](Problem &p) { p.args.cfg_mode = GLANCE_CFG_NONE; });
  expect_refused("rows", [](Problem &p) { p.args.rows = -1; });
  expect_refused("columns", [](Problem &p) { p.args.columns = -1; });
  expect_refused("latents_stride", [](Problem &p) { p.args.latents_stride = 7; });
  expect_refused("v_pos_stride", [](Problem &p) { p.args.v_pos_stride = 0; });
  expect_refused("v_neg_stride", [](Problem &p) { p.args.v_neg_stride = -8; });
  expect_refused("latents_bf16_stride", [](Problem &p) { p.args.latents_bf16_stride = 1; });
  expect_refused("v_pos", [=](Problem &p) { p.args.v_pos_stride = huge; });
  expect_refused("latents_dtype", [](Problem &p) { p.args.latents_dtype = GLANCE_F16; });
  expect_refused("velocity_dtype", [](Problem &p) { p.args.velocity_dtype = 0; });
  expect_refused("cfg_mode", [](Problem &p) { p.args.cfg_mode = 3; });
  expect_refused("rounding", [](Problem &p) { p.args.rounding = 2; });
  expect_refused("device", [](Problem &p) { p.args.device = 2; });
  expect_refused("device_index", [](Problem &p) { p.args.device_index = 1; });
  expect_refused("reserved", [](Problem &p) { p.args.reserved = 1; });
  expect_refused("sigma", [=](Problem &p) { p.args.sigma = inf - inf; });
  expect_refused("sigma_next", [=](Problem &p) { p.args.sigma_next = inf; });
  expect_refused("cfg_scale", [=](Problem &p) { p.args.cfg_scale = inf; });
  expect_refused("not aligned", [](Problem &p) {
    p.args.latents = static_cast<unsigned char *>(p.args.latents) + 1;
  });
  expect_refused("latents overlaps v_pos", [](Problem &p) { p.args.v_pos = p.args.latents; });
  expect_refused("latents_bf16 overlaps latents",
                 [](Problem &p) { p.args.latents_bf16 = p.args.latents; });
}

TEST(FlowStep, NoArgsAreRefused) {
  EXPECT_TRUE(glance_test::refused(glance_flow_step(nullptr, nullptr), "args"));
}

TEST(FlowStep, StreamOnCpuIsRefused) {
  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_NONE, GLANCE_ROUND_ONCE, false}, 3);
  int not_a_stream = 0;
  EXPECT_TRUE(glance_test::refused(glance_flow_step(&p.args, &not_a_stream), "stream"));
}

TEST(FlowStep, NothingToDoIsNoError) {
  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_NONE, GLANCE_ROUND_ONCE, false}, 3);
  p.args.rows = 0;
  p.args.latents = nullptr;
  p.args.v_pos = nullptr;
  EXPECT_EQ(glance_flow_step(&p.args, nullptr), GLANCE_OK);
}

}  // namespace
