// glance_flow_step against a float64 oracle and against the f32 chain of separate operations, on
// every instruction set of this machine or on CUDA, with the same bits: ragged sizes, strides, odd
// addresses, NaN and infinity, and every argument that must be refused.
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
#include <vector>

#include "math/element.h"
#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance::to_bf16;
using glance::to_f32;
using glance_test::Buffer;
using glance_test::narrowing_error;
using glance_test::rounded;

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
    args.device = glance_test::device();
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

glance_status run(Problem *problem) {
  const glance_test::Mirror mirror(
      {&problem->latents, &problem->v_pos, &problem->v_neg, &problem->copy});
  glance_flow_step_args args = problem->args;
  mirror.place(&args.latents, &args.v_pos, &args.v_neg, &args.latents_bf16);
  return mirror.done(glance_flow_step(&args, nullptr));
}

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
  const auto each = [&](float x) {
    return a.rounding == GLANCE_ROUND_EACH ? rounded(a.velocity_dtype, x) : x;
  };
  volatile float v = before.v_pos.get(r, c);
  if (a.cfg_mode == GLANCE_CFG_PLAIN) {
    const volatile float difference = each(v - before.v_neg.get(r, c));
    const volatile float scaled = each(a.cfg_scale * difference);
    v = each(before.v_neg.get(r, c) + scaled);
  }
  const volatile float dt = a.sigma_next - a.sigma;
  const volatile float product = each(dt * v);
  return before.latents.get(r, c) + product;
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

double tolerance(const Case &c, double scale) {
  const double f32_error = 16 * 6e-8 * scale;  // some ten roundings; the norm's mostly cancel
  const double each = c.rounding == GLANCE_ROUND_EACH ? 4 * narrowing_error(c.velocity, scale) : 0;
  return f32_error + each + narrowing_error(c.latents, scale);
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
    const float stored = rounded(c.latents, chain);
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

// What the least of the CPU's instruction sets gives, the same on every device.
Problem on_baseline(const Problem &before) {
  const glance_test::UseIsa use(glance::Isa::baseline);
  Problem after(before);
  after.args.device = GLANCE_CPU;
  EXPECT_EQ(glance_flow_step(&after.args, nullptr), GLANCE_OK) << glance_last_error();
  return after;
}

void check_case(const Case &c, unsigned seed) {
  const Problem before(c, seed);
  const bool also_on_cpu = c.latents != GLANCE_F16 && c.velocity != GLANCE_F16;
  const Problem baseline = also_on_cpu ? on_baseline(before) : before;
  for (const glance_test::Variant &variant : glance_test::variants()) {
    SCOPED_TRACE(glance_test::name(variant) + " " + c.name() + " seed=" + std::to_string(seed));
    const glance_test::UseVariant use(variant);
    Problem after(before);
    EXPECT_EQ(run(&after), GLANCE_OK) << glance_last_error();
    EXPECT_TRUE(values_right(c, before, after));
    if (also_on_cpu) {
      EXPECT_TRUE(after.latents.bytes == baseline.latents.bytes) << "bits differ from baseline";
      EXPECT_TRUE(after.copy.bytes == baseline.copy.bytes) << "copy's bits differ from baseline";
    }
    EXPECT_TRUE(after.latents.gaps_untouched() && after.copy.gaps_untouched()) << "wrote a gap";
    EXPECT_TRUE(c.copy || after.copy.bytes == before.copy.bytes) << "wrote no one's copy";
    EXPECT_TRUE(after.v_pos.bytes == before.v_pos.bytes && after.v_neg.bytes == before.v_neg.bytes)
        << "wrote an input";
  }
}

// Every type, rounding and output for one size and guidance.
void check_types(int64_t rows, int64_t columns, int64_t gap, int64_t offset, glance_cfg_mode mode,
                 unsigned *seed) {
  for (const glance_dtype latents : glance_test::dtypes()) {
    for (const glance_dtype velocity : glance_test::dtypes()) {
      for (const glance_rounding rounding : {GLANCE_ROUND_ONCE, GLANCE_ROUND_EACH}) {
        for (const bool copy : {false, true}) {
          check_case({rows, columns, gap, offset, latents, velocity, mode, rounding, copy},
                     (*seed)++);
        }
      }
    }
  }
}

TEST(FlowStep, Values) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][2] = {{1, 1},  {3, 15},  {2, 16},  {5, 17},
                              {7, 64}, {2, 127}, {33, 64}, {3, 520}};
  // The last is aligned to 16 bytes for every type.
  const int64_t layouts[][2] = {{0, 1}, {1, 3}, {0, 0}, {8, 8}};
  for (const auto &size : sizes) {
    for (const auto &layout : layouts) {
      for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
        // One column rescaled is |v_pos| with the sign of a difference, which rounding may flip.
        if (mode == GLANCE_CFG_RESCALED && size[1] == 1) continue;
        check_types(size[0], size[1], layout[0], layout[1], mode, &seed);
      }
    }
  }
}

TEST(FlowStep, NanAndInfinityStayInTheirRow) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const glance_test::Variant &variant : glance_test::variants()) {
    const glance_test::UseVariant use(variant);
    for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
      for (const glance_dtype type : glance_test::dtypes()) {
        const Case c = {3, 19, 0, 0, type, type, mode, GLANCE_ROUND_ONCE, true};
        SCOPED_TRACE(glance_test::name(variant) + " " + c.name());
        Problem p(c, 7);
        p.v_pos.set(0, 2, nan);
        p.v_pos.set(1, 18, inf);
        EXPECT_EQ(run(&p), GLANCE_OK);
        EXPECT_TRUE(std::isnan(p.latents.get(0, 2)) && std::isnan(p.copy.get(0, 2)));
        EXPECT_FALSE(std::isfinite(p.latents.get(1, 18)));
        for (int64_t i = 0; i < 19; ++i) EXPECT_TRUE(std::isfinite(p.latents.get(2, i))) << i;
      }
    }
  }
}

TEST(FlowStep, ZeroVelocitiesLeaveTheLatents) {
  for (const glance_test::Variant &variant : glance_test::variants()) {
    const glance_test::UseVariant use(variant);
    Problem p({1, 20, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_RESCALED, GLANCE_ROUND_ONCE, false},
              7);
    const Problem before(p);
    p.v_pos.fill(0.0f);
    p.v_neg.fill(0.0f);
    EXPECT_EQ(run(&p), GLANCE_OK);
    EXPECT_TRUE(p.latents.bytes == before.latents.bytes) << glance_test::name(variant);
  }
}

TEST(FlowStep, SameBitsForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
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
  EXPECT_TRUE(glance_test::refused(run(&p), argument));
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
  expect_refused("latents_dtype",
                 [](Problem &p) { p.args.latents_dtype = glance_test::wrong_dtype(); });
  expect_refused("velocity_dtype", [](Problem &p) { p.args.velocity_dtype = 0; });
  expect_refused("cfg_mode", [](Problem &p) { p.args.cfg_mode = 3; });
  expect_refused("rounding", [](Problem &p) { p.args.rounding = 2; });
  expect_refused("device", [](Problem &p) { p.args.device = 2; });
  expect_refused("device_index", [](Problem &p) { p.args.device_index = -1; });
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

TEST(FlowStep, WhatIsOfCudaIsRefusedOnCpu) {
  GLANCE_CPU_ONLY();
  const float triple[] = {1.0f, 0.5f, 2.0f};
  expect_refused("device_index", [](Problem &p) { p.args.device_index = 1; });
  expect_refused("velocity_dtype", [](Problem &p) { p.args.velocity_dtype = GLANCE_F16; });
  expect_refused("schedule", [&](Problem &p) { p.args.schedule = triple; });
}

TEST(FlowStep, StreamOnCpuIsRefused) {
  GLANCE_CPU_ONLY();
  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_NONE, GLANCE_ROUND_ONCE, false}, 3);
  int not_a_stream = 0;
  EXPECT_TRUE(glance_test::refused(glance_flow_step(&p.args, &not_a_stream), "stream"));
}

TEST(FlowStep, NothingToDoIsNoError) {
  Problem p({4, 8, 0, 0, GLANCE_F32, GLANCE_F32, GLANCE_CFG_NONE, GLANCE_ROUND_ONCE, false}, 3);
  p.args.rows = 0;
  p.args.latents = nullptr;
  p.args.v_pos = nullptr;
  EXPECT_EQ(run(&p), GLANCE_OK);
}

// A schedule in device memory goes before the fields, whatever they say; one call reads it as it
// is when the work runs.
TEST(FlowStepOnCuda, TakesItsScheduleFromDeviceMemory) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  unsigned seed = glance_test::first_seed();
  for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
    for (const glance_rounding rounding : {GLANCE_ROUND_ONCE, GLANCE_ROUND_EACH}) {
      const Case c = {9, 67, 1, 1, GLANCE_F32, GLANCE_BF16, mode, rounding, true};
      SCOPED_TRACE(c.name() + " seed=" + std::to_string(++seed));
      const Problem before(c, seed);
      const Problem want = on_baseline(before);
      Problem after(before);
      Buffer triple(GLANCE_F32, 1, 3);
      triple.set(0, 0, before.args.sigma);
      triple.set(0, 1, before.args.sigma_next);
      triple.set(0, 2, before.args.cfg_scale);
      const glance_test::Mirror mirror(
          {&after.latents, &after.v_pos, &after.v_neg, &after.copy, &triple});
      glance_flow_step_args args = after.args;
      args.sigma = 123.0f;
      args.sigma_next = -7.0f;
      args.cfg_scale = 55.0f;
      args.schedule = static_cast<const float *>(static_cast<const void *>(triple.data()));
      mirror.place(&args.latents, &args.v_pos, &args.v_neg, &args.latents_bf16, &args.schedule);
      ASSERT_EQ(mirror.done(glance_flow_step(&args, nullptr)), GLANCE_OK) << glance_last_error();
      EXPECT_TRUE(after.latents.bytes == want.latents.bytes);
      EXPECT_TRUE(after.copy.bytes == want.copy.bytes);
      args.schedule = reinterpret_cast<const float *>(
          reinterpret_cast<const unsigned char *>(args.schedule) + 2);
      EXPECT_TRUE(glance_test::refused(glance_flow_step(&args, nullptr), "schedule"));
    }
  }
}

}  // namespace
