// glance_gated_residual against a float64 oracle, on every instruction set of this machine or on
// CUDA: ragged sizes, strides, odd addresses, in place, threads, NaN and infinity, and every
// argument that must be refused.
#include <glance/gated_residual.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::Buffer;
using glance_test::refused;
using glance_test::UseThreads;
using glance_test::UseVariant;
using glance_test::Variant;
using glance_test::variants;

enum Place { kApart, kOnResidual, kOnUpdate };

struct Case {
  int64_t rows, columns, gap, offset, rows_per_gate;
  glance_dtype dtype;
  Place place;

  std::string name() const {
    return "rows=" + std::to_string(rows) + " columns=" + std::to_string(columns) +
           " gap=" + std::to_string(gap) + " offset=" + std::to_string(offset) +
           " rows_per_gate=" + std::to_string(rows_per_gate) +
           " dtype=" + glance_test::name(dtype) + " place=" + std::to_string(place);
  }
};

struct Problem {
  Buffer residual, update, gate, y;
  glance_gated_residual_args args = {};

  Problem(const Case &c, unsigned seed)
      : residual(c.dtype, c.rows, c.columns, c.gap, c.offset),
        update(c.dtype, c.rows, c.columns, 2 * c.gap, c.offset),
        gate(c.dtype, (c.rows - 1) / c.rows_per_gate + 1, c.columns, 3 * c.gap, c.offset),
        y(c.dtype, c.rows, c.columns, c.gap, c.offset),
        place_(c.place) {
    std::mt19937 random(seed);
    residual.fill(random);
    update.fill(random);
    gate.fill(random);
    args.struct_size = sizeof args;
    args.rows = c.rows;
    args.columns = c.columns;
    args.rows_per_gate = c.rows_per_gate;
    args.dtype = c.dtype;
    args.device = glance_test::device();
    point();
  }
  Problem(const Problem &) = delete;
  Problem &operator=(const Problem &) = delete;

  Buffer &out() { return place_ == kApart ? y : place_ == kOnResidual ? residual : update; }

  void point() {
    args.residual = residual.data();
    args.update = update.data();
    args.gate = gate.data();
    args.y = out().data();
    args.residual_stride = residual.stride;
    args.update_stride = update.stride;
    args.gate_stride = gate.stride;
    args.y_stride = out().stride;
  }

 private:
  Place place_;
};

glance_status run(Problem *p) {
  const glance_test::Mirror mirror({&p->residual, &p->update, &p->gate, &p->y});
  glance_gated_residual_args args = p->args;
  mirror.place(&args.residual, &args.update, &args.gate, &args.y);
  return mirror.done(glance_gated_residual(&args, nullptr));
}

void check_values(Problem &before, Problem &after) {
  const glance_gated_residual_args &a = after.args;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.columns; ++c) {
      const double residual = before.residual.get(r, c);
      const double added =
          static_cast<double>(before.gate.get(r / a.rows_per_gate, c)) * before.update.get(r, c);
      const double want = residual + added;
      const double f32_error = std::ldexp(std::fabs(residual) + 2 * std::fabs(added), -24);
      const double narrowing = glance_test::narrowing_error(a.dtype, want);
      ASSERT_NEAR(after.out().get(r, c), want, f32_error + narrowing) << "at " << r << "," << c;
    }
  }
}

void check_case(const Case &c, unsigned seed) {
  SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed));
  Problem before(c, seed), baseline(c, seed);
  {
    const UseVariant least(variants().front());
    ASSERT_EQ(run(&baseline), GLANCE_OK) << glance_last_error();
  }
  for (const Variant &variant : variants()) {
    SCOPED_TRACE(glance_test::name(variant));
    const UseVariant use(variant);
    Problem after(c, seed);
    ASSERT_EQ(run(&after), GLANCE_OK) << glance_last_error();
    check_values(before, after);
    EXPECT_EQ(after.out().bytes, baseline.out().bytes) << "bits differ from the first's";
    EXPECT_TRUE(after.out().gaps_untouched());
    EXPECT_EQ(after.gate.bytes, before.gate.bytes);
    if (c.place != kOnResidual) {
      EXPECT_EQ(after.residual.bytes, before.residual.bytes);
    }
    if (c.place != kOnUpdate) {
      EXPECT_EQ(after.update.bytes, before.update.bytes);
    }
  }
}

TEST(GatedResidual, Values) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][2] = {{1, 1}, {3, 15}, {5, 16}, {4, 17}, {7, 64}, {2, 127}, {105, 192}};
  // The last is aligned to 16 bytes for every type.
  const int64_t layouts[][2] = {{0, 1}, {1, 3}, {8, 8}};
  for (const auto &size : sizes) {
    for (int64_t rows_per_gate : {int64_t{1}, int64_t{3}, size[0]}) {
      for (glance_dtype dtype : glance_test::dtypes()) {
        for (Place place : {kApart, kOnResidual, kOnUpdate}) {
          for (const auto &layout : layouts) {
            check_case({size[0], size[1], layout[0], layout[1], rows_per_gate, dtype, place},
                       seed++);
          }
        }
      }
    }
  }
}

TEST(GatedResidual, SameBitsForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
  for (glance_dtype dtype : glance_test::dtypes()) {
    const Case c = {521, 401, 3, 1, 7, dtype, kApart};
    const unsigned seed = glance_test::first_seed();
    Problem alone(c, seed);
    {
      const UseThreads one(1);
      ASSERT_EQ(run(&alone), GLANCE_OK);
    }
    check_values(alone, alone);
    for (int32_t threads : {2, 3}) {
      const UseThreads use(threads);
      Problem shared(c, seed);
      ASSERT_EQ(run(&shared), GLANCE_OK);
      EXPECT_EQ(shared.y.bytes, alone.y.bytes) << threads << " threads, seed " << seed;
    }
  }
}

TEST(GatedResidual, SpecialValuesStayWhereTheyAre) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const Variant &variant : variants()) {
    const UseVariant use(variant);
    for (glance_dtype dtype : glance_test::dtypes()) {
      Problem p({3, 37, 0, 0, 3, dtype, kApart}, 5);
      p.update.set(0, 2, std::numeric_limits<float>::quiet_NaN());
      p.residual.set(1, 36, inf);
      p.residual.set(2, 1, 1e-40f);
      p.update.set(2, 1, 0.0f);
      ASSERT_EQ(run(&p), GLANCE_OK);
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t c = 0; c < 37; ++c) {
          const float got = p.y.get(r, c);
          const bool spoiled = (r == 0 && c == 2) || (r == 1 && c == 36);
          EXPECT_EQ(std::isfinite(got), !spoiled)
              << glance_test::name(variant) << " " << r << "," << c;
        }
      }
      EXPECT_TRUE(std::isnan(p.y.get(0, 2)));
      EXPECT_EQ(p.y.get(1, 36), inf);
      EXPECT_EQ(p.y.get(2, 1), p.residual.get(2, 1))
          << "a denormal, " << glance_test::name(variant);
    }
  }
}

void expect_refused(const char *argument, const std::function<void(Problem &)> &spoil) {
  const Case c = {4, 8, 0, 0, 2, GLANCE_BF16, kApart};
  Problem p(c, 3), before(c, 3);
  spoil(p);
  EXPECT_TRUE(refused(run(&p), argument));
  EXPECT_EQ(p.y.bytes, before.y.bytes) << argument;
  EXPECT_EQ(p.residual.bytes, before.residual.bytes) << argument;
  EXPECT_EQ(p.update.bytes, before.update.bytes) << argument;
}

TEST(GatedResidual, Refusals) {
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  const auto odd = [](const void *p) { return static_cast<const char *>(p) + 1; };
  EXPECT_TRUE(refused(glance_gated_residual(nullptr, nullptr), "args"));
  expect_refused("struct_size", [](Problem &p) { p.args.struct_size -= 8; });
  expect_refused("rows", [](Problem &p) { p.args.rows = -1; });
  expect_refused("columns", [](Problem &p) { p.args.columns = -1; });
  expect_refused("rows_per_gate", [](Problem &p) { p.args.rows_per_gate = 0; });
  expect_refused("dtype", [](Problem &p) { p.args.dtype = glance_test::wrong_dtype(); });
  expect_refused("device", [](Problem &p) { p.args.device = 2; });
  expect_refused("device_index", [](Problem &p) { p.args.device_index = -1; });
  expect_refused("reserved", [](Problem &p) { p.args.reserved = 1; });
  expect_refused("residual", [](Problem &p) { p.args.residual = nullptr; });
  expect_refused("update", [](Problem &p) { p.args.update = nullptr; });
  expect_refused("gate", [](Problem &p) { p.args.gate = nullptr; });
  expect_refused("y", [](Problem &p) { p.args.y = nullptr; });
  expect_refused("residual", [=](Problem &p) { p.args.residual = odd(p.args.residual); });
  expect_refused("update", [=](Problem &p) { p.args.update = odd(p.args.update); });
  expect_refused("gate", [=](Problem &p) { p.args.gate = odd(p.args.gate); });
  expect_refused("y", [](Problem &p) { p.args.y = static_cast<char *>(p.args.y) + 1; });
  expect_refused("residual_stride", [](Problem &p) { p.args.residual_stride = 7; });
  expect_refused("update_stride", [](Problem &p) { p.args.update_stride = -8; });
  expect_refused("gate_stride", [](Problem &p) { p.args.gate_stride = 0; });
  expect_refused("y_stride", [](Problem &p) { p.args.y_stride = 1; });
  expect_refused("update", [=](Problem &p) { p.args.update_stride = huge; });
  expect_refused("gate", [](Problem &p) { p.args.y = p.gate.data(); });
  expect_refused("residual", [](Problem &p) {
    p.args.y = p.residual.data();
    p.args.y_stride = 9;
    p.args.rows = 3;
  });
  expect_refused("update", [](Problem &p) {
    p.args.y = p.update.at(0, 1);
    p.args.rows = 3;
  });
}

TEST(GatedResidual, WhatIsOfCudaIsRefusedOnCpu) {
  GLANCE_CPU_ONLY();
  expect_refused("device_index", [](Problem &p) { p.args.device_index = 1; });
  Problem p({4, 8, 0, 0, 2, GLANCE_F32, kApart}, 3);
  int not_a_stream = 0;
  EXPECT_TRUE(refused(glance_gated_residual(&p.args, &not_a_stream), "stream"));
}

TEST(GatedResidual, NothingToDo) {
  Problem p({4, 8, 0, 0, 2, GLANCE_F32, kApart}, 3);
  p.args.rows = 0;
  p.args.residual = p.args.update = p.args.gate = p.args.y = nullptr;
  EXPECT_EQ(run(&p), GLANCE_OK);
}

}  // namespace
