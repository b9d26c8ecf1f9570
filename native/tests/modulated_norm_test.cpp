// glance_modulated_norm against a float64 oracle, on every instruction set of this machine or on
// CUDA: both norms, ragged sizes, strides, odd addresses, in place, threads, the down-projection,
// NaN and infinity, and every argument that must be refused.
#include <glance/modulated_norm.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/matrix_handle.h"
#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::Buffer;
using glance_test::MatrixHandle;
using glance_test::refused;
using glance_test::UseThreads;
using glance_test::UseVariant;
using glance_test::Variant;
using glance_test::variants;

struct Case {
  int64_t rows, columns, gap, offset, rows_per_group;
  glance_dtype dtype;
  glance_norm norm;
  bool scale, shift, in_place;
  // Of x; far from 0 a variance taken as a difference of sums would be lost.
  float mean;

  std::string name() const {
    return "rows=" + std::to_string(rows) + " columns=" + std::to_string(columns) +
           " gap=" + std::to_string(gap) + " offset=" + std::to_string(offset) +
           " rows_per_group=" + std::to_string(rows_per_group) +
           " dtype=" + glance_test::name(dtype) + " norm=" + std::to_string(norm) +
           " scale=" + std::to_string(scale) + " shift=" + std::to_string(shift) +
           " in_place=" + std::to_string(in_place) + " mean=" + std::to_string(mean);
  }
};

struct Problem {
  Buffer x, y, scale, shift;
  glance_modulated_norm_args args = {};

  Problem(const Case &c, unsigned seed)
      : x(c.dtype, c.rows, c.columns, c.gap, c.offset),
        y(c.dtype, c.rows, c.columns, 2 * c.gap, c.offset),
        scale(c.dtype, (c.rows - 1) / c.rows_per_group + 1, c.columns, 3 * c.gap, c.offset),
        shift(c.dtype, (c.rows - 1) / c.rows_per_group + 1, c.columns, c.gap, c.offset),
        in_place_(c.in_place) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(c.mean, 1.0f);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t i = 0; i < c.columns; ++i) x.set(r, i, normal(random));
    }
    scale.fill(random);
    shift.fill(random);
    args.struct_size = sizeof args;
    args.x = x.data();
    args.y = out().data();
    args.scale = c.scale ? scale.data() : nullptr;
    args.shift = c.shift ? shift.data() : nullptr;
    args.rows = c.rows;
    args.columns = c.columns;
    args.x_stride = x.stride;
    args.y_stride = out().stride;
    args.scale_stride = scale.stride;
    args.shift_stride = shift.stride;
    args.rows_per_group = c.rows_per_group;
    args.epsilon = 1e-6f;
    args.norm = c.norm;
    args.dtype = c.dtype;
    args.device = glance_test::device();
  }
  Problem(const Problem &) = delete;
  Problem &operator=(const Problem &) = delete;

  Buffer &out() { return in_place_ ? x : y; }

 private:
  bool in_place_;
};

// With what else args points into.
glance_status run(Problem *p, const std::vector<Buffer *> &others = {}) {
  std::vector<Buffer *> buffers = {&p->x, &p->y, &p->scale, &p->shift};
  buffers.insert(buffers.end(), others.begin(), others.end());
  const glance_test::Mirror mirror(buffers);
  glance_modulated_norm_args args = p->args;
  mirror.place(&args.x, &args.y, &args.scale, &args.shift, &args.h, &args.adapters.selection);
  return mirror.done(glance_modulated_norm(&args, nullptr));
}

struct RowStatistics {
  double mean, inverse, largest;
};

RowStatistics statistics(const Buffer &x, int64_t row, const glance_modulated_norm_args &a) {
  RowStatistics s = {0, 0, 0};
  const auto count = static_cast<double>(a.columns);
  for (int64_t c = 0; c < a.columns; ++c) {
    if (a.norm == GLANCE_NORM_LAYER) s.mean += x.get(row, c) / count;
    s.largest = std::max(s.largest, std::fabs(static_cast<double>(x.get(row, c))));
  }
  double variance = 0;
  for (int64_t c = 0; c < a.columns; ++c) variance += std::pow(x.get(row, c) - s.mean, 2) / count;
  s.inverse = 1 / std::sqrt(variance + static_cast<double>(a.epsilon));
  return s;
}

void check_values(Problem &before, Problem &after) {
  const glance_modulated_norm_args &a = after.args;
  // Roundings of a sum over columns in 32 partial sums, and of what follows.
  const double roundings = static_cast<double>(a.columns) / 32 + 16;
  for (int64_t r = 0; r < a.rows; ++r) {
    const RowStatistics s = statistics(before.x, r, a);
    for (int64_t c = 0; c < a.columns; ++c) {
      const int64_t group = r / a.rows_per_group;
      const double by = 1 + (a.scale == nullptr ? 0.0 : before.scale.get(group, c));
      const double plus = a.shift == nullptr ? 0 : before.shift.get(group, c);
      const double n = (before.x.get(r, c) - s.mean) * s.inverse;
      const double want = n * by + plus;
      const double size =
          (2 * s.largest * s.inverse + std::fabs(n)) * (1 + std::fabs(by)) + std::fabs(plus);
      const double narrowing = glance_test::narrowing_error(a.dtype, want);
      ASSERT_NEAR(after.out().get(r, c), want, std::ldexp(roundings * size, -24) + narrowing)
          << "at " << r << "," << c;
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
    EXPECT_EQ(after.scale.bytes, before.scale.bytes);
    EXPECT_EQ(after.shift.bytes, before.shift.bytes);
    if (!c.in_place) {
      EXPECT_EQ(after.x.bytes, before.x.bytes);
    }
  }
}

TEST(ModulatedNorm, Values) {
  unsigned seed = glance_test::first_seed();
  unsigned skipped = seed;
  const int64_t sizes[][2] = {{1, 1},   {3, 15},  {5, 31},    {4, 32},  {7, 65},
                              {2, 127}, {3, 769}, {105, 192}, {2, 3072}};
  for (const auto &size : sizes) {
    for (glance_dtype dtype : glance_test::dtypes()) {
      for (glance_norm norm : {GLANCE_NORM_LAYER, GLANCE_NORM_RMS}) {
        for (int bits = 0; bits < 24; ++bits) {
          if (++skipped % glance_test::sweep_step(1, 5) != 0) continue;
          // The last is aligned to 16 bytes for every type.
          const int64_t layouts[][2] = {{0, 1}, {1, 3}, {8, 8}};
          const int64_t gap = layouts[bits / 8][0];
          const int64_t rows_per_group = gap == 0 ? size[0] : bits % 2 + 1;
          check_case({size[0], size[1], gap, layouts[bits / 8][1], rows_per_group, dtype, norm,
                      (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, 0.0f},
                     seed++);
        }
      }
    }
  }
}

TEST(ModulatedNorm, MeanFarFromZero) {
  const unsigned seed = glance_test::first_seed();
  for (int64_t columns : {64, 193, 3072}) {
    check_case({3, columns, 0, 0, 3, GLANCE_F32, GLANCE_NORM_LAYER, true, true, false, 300.0f},
               seed);
  }
}

TEST(ModulatedNorm, SameBitsForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
  const unsigned seed = glance_test::first_seed();
  for (glance_dtype dtype : glance_test::dtypes()) {
    const Case c = {521, 401, 3, 1, 7, dtype, GLANCE_NORM_LAYER, true, true, false, 1.0f};
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

TEST(ModulatedNorm, SpecialValuesStayInTheirRow) {
  const float special[] = {std::numeric_limits<float>::quiet_NaN(),
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()};
  for (const Variant &variant : variants()) {
    const UseVariant use(variant);
    for (glance_dtype dtype : glance_test::dtypes()) {
      for (float value : special) {
        const Case c = {5, 75, 0, 0, 5, dtype, GLANCE_NORM_LAYER, true, true, false, 0.0f};
        Problem spoiled(c, 5), clean(c, 5);
        spoiled.x.set(1, 74, value);
        spoiled.x.set(3, 0, value);
        ASSERT_EQ(run(&spoiled), GLANCE_OK);
        ASSERT_EQ(run(&clean), GLANCE_OK);
        for (int64_t r = 0; r < 5; ++r) {
          for (int64_t i = 0; i < 75; ++i) {
            if (r % 2 == 1) {
              EXPECT_TRUE(std::isnan(spoiled.y.get(r, i))) << r << "," << i;
            } else {
              EXPECT_EQ(spoiled.y.get(r, i), clean.y.get(r, i)) << r << "," << i;
            }
          }
        }
      }
    }
  }
}

// Two adapters of different R, packed for the instruction set in use.
struct Adapters {
  Buffer downs[2];
  MatrixHandle matrices[2];
  glance_adapter adapters[2] = {};
  std::vector<glance_segment> segments;

  Adapters(glance_dtype dtype, int64_t columns, unsigned seed)
      : downs{{dtype, 20, columns}, {dtype, 5, columns}} {
    std::mt19937 random(seed);
    for (int i = 0; i < 2; ++i) {
      downs[i].fill(random);
      matrices[i] = MatrixHandle(downs[i]);
      adapters[i].down = matrices[i].get();
      adapters[i].scale = i == 0 ? 0.75f : -2.0f;
    }
  }
  Adapters(const Adapters &) = delete;
  Adapters &operator=(const Adapters &) = delete;

  // Rows of both adapters and of none, in ranges that no block of rows ends with.
  void use(Problem &p, Buffer &h) {
    const int64_t rows = p.args.rows;
    segments = {{0, rows / 3, 1, 0}, {rows / 3, rows / 2, -1, 0}, {rows / 2, rows, 0, 0}};
    p.args.adapters = {adapters, segments.data(), 2, static_cast<int32_t>(segments.size()),
                       nullptr};
    p.args.h = h.data();
    p.args.h_stride = h.stride;
  }

  int adapter_of(int64_t row) const {
    for (const glance_segment &s : segments) {
      if (row >= s.begin && row < s.end) return s.adapter;
    }
    return -1;
  }
};

void check_h(const Problem &p, const Adapters &adapters, const Buffer &h, const Buffer &fresh) {
  const int64_t columns = p.args.columns;
  for (int64_t r = 0; r < h.rows; ++r) {
    const int adapter = adapters.adapter_of(r);
    const int64_t filled = adapter < 0 ? 0 : adapters.downs[adapter].rows;
    for (int64_t j = 0; j < filled; ++j) {
      double sum = 0, size = 0;
      for (int64_t c = 0; c < columns; ++c) {
        const double product =
            static_cast<double>(p.y.get(r, c)) * adapters.downs[adapter].get(j, c);
        sum += product;
        size += std::fabs(product);
      }
      const double want = adapters.adapters[adapter].scale * sum;
      const double rounding = glance_test::narrowing_error(p.args.dtype, want);
      const double bound = std::ldexp(static_cast<double>(columns + 2) * 2 * size, -24);
      ASSERT_NEAR(h.get(r, j), want, bound + rounding) << "h at " << r << "," << j;
    }
    const auto left = static_cast<size_t>((h.columns - filled) * h.element_bytes());
    ASSERT_EQ(std::memcmp(h.at(r, filled), fresh.at(r, filled), left), 0) << "row " << r;
  }
}

void check_down_projection(const Case &c, unsigned seed) {
  Problem p(c, seed), alone(c, seed);
  Adapters adapters(c.dtype, c.columns, seed);
  Buffer h(c.dtype, c.rows, 20, 3 + c.gap, c.offset);
  const Buffer fresh = h;
  adapters.use(p, h);
  ASSERT_EQ(run(&p, {&h}), GLANCE_OK) << glance_last_error();
  ASSERT_EQ(run(&alone), GLANCE_OK);
  EXPECT_EQ(p.y.bytes, alone.y.bytes) << "h changes y";
  check_h(p, adapters, h, fresh);
  EXPECT_TRUE(h.gaps_untouched());
}

TEST(ModulatedNorm, DownProjection) {
  unsigned seed = glance_test::first_seed();
  glance_test::for_each_variant([&](glance_dtype dtype) {
    for (const int64_t rows : {1, 28, 61, 105}) {
      for (const int64_t columns : {33, 192, 1024}) {
        for (const int64_t gap : {1, 8}) {
          const int64_t offset = gap;
          const Case c = {rows, columns, gap,   offset, 4, dtype, GLANCE_NORM_LAYER,
                          true, true,    false, 0.0f};
          SCOPED_TRACE(c.name() + " seed=" + std::to_string(++seed));
          check_down_projection(c, seed);
          if (HasFatalFailure()) return;
        }
      }
    }
  });
}

// The adapters that a table in device memory chooses: both exchanged, one for both, none.
TEST(ModulatedNormOnCuda, TakesItsAdaptersFromDeviceMemory) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  const unsigned seed = glance_test::first_seed();
  for (const glance_dtype dtype : glance_test::dtypes()) {
    for (const auto &chosen : {std::vector<int32_t>{0, 1}, {1, 0}, {1, 1}, {-1, 0}, {-1, -1}}) {
      const Case c = {61, 96, 0, 0, 61, dtype, GLANCE_NORM_LAYER, true, true, false, 0.0f};
      SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed) + " selection " +
                   std::to_string(chosen[0]) + " " + std::to_string(chosen[1]));
      Problem p(c, seed);
      Adapters adapters(dtype, c.columns, seed);
      Buffer h(dtype, c.rows, 20);
      const Buffer fresh = h;
      adapters.use(p, h);
      Buffer selection(GLANCE_F32, 1, 2);
      std::memcpy(selection.data(), chosen.data(), 8);
      p.args.adapters.selection = static_cast<const int32_t *>(selection.data());
      ASSERT_EQ(run(&p, {&h, &selection}), GLANCE_OK) << glance_last_error();
      for (glance_segment &s : adapters.segments) {
        if (s.adapter >= 0) s.adapter = chosen[static_cast<size_t>(s.adapter)];
      }
      check_h(p, adapters, h, fresh);
    }
  }
}

TEST(ModulatedNorm, DownProjectionHasTheSameBitsForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
  const unsigned seed = glance_test::first_seed();
  for (glance_dtype dtype : glance_test::dtypes()) {
    const Case c = {300, 193, 0, 0, 300, dtype, GLANCE_NORM_RMS, true, true, false, 0.0f};
    Adapters adapters(dtype, c.columns, seed);
    std::vector<unsigned char> first;
    for (int32_t threads : {1, 2, 3}) {
      const UseThreads use(threads);
      Problem p(c, seed);
      Buffer h(dtype, c.rows, 20);
      adapters.use(p, h);
      ASSERT_EQ(run(&p, {&h}), GLANCE_OK);
      if (threads == 1) first = h.bytes;
      EXPECT_EQ(h.bytes, first) << threads << " threads, seed " << seed;
    }
  }
}

void expect_refused(const char *argument, const std::function<void(Problem &, Buffer &)> &spoil) {
  const Case c = {4, 8, 0, 0, 2, GLANCE_BF16, GLANCE_NORM_LAYER, true, true, false, 0.0f};
  Problem p(c, 3), before(c, 3);
  Adapters adapters(GLANCE_BF16, 8, 3);
  Buffer h(GLANCE_BF16, 4, 20);
  const Buffer fresh = h;
  adapters.use(p, h);
  spoil(p, h);
  EXPECT_TRUE(refused(run(&p, {&h}), argument));
  EXPECT_EQ(p.x.bytes, before.x.bytes) << argument;
  EXPECT_EQ(p.y.bytes, before.y.bytes) << argument;
  EXPECT_EQ(p.scale.bytes, before.scale.bytes) << argument;
  EXPECT_EQ(h.bytes, fresh.bytes) << argument;
}

TEST(ModulatedNorm, RefusesNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(refused(glance_modulated_norm(nullptr, nullptr), "args"));
  expect_refused("struct_size", [](Problem &p, Buffer &) { p.args.struct_size += 8; });
  expect_refused("rows", [](Problem &p, Buffer &) { p.args.rows = -1; });
  expect_refused("columns", [](Problem &p, Buffer &) { p.args.columns = -1; });
  expect_refused("rows_per_group", [](Problem &p, Buffer &) { p.args.rows_per_group = 0; });
  expect_refused("norm", [](Problem &p, Buffer &) { p.args.norm = 2; });
  expect_refused("dtype", [](Problem &p, Buffer &) { p.args.dtype = glance_test::wrong_dtype(); });
  expect_refused("device", [](Problem &p, Buffer &) { p.args.device = -1; });
  expect_refused("device_index", [](Problem &p, Buffer &) { p.args.device_index = -1; });
  expect_refused("reserved", [](Problem &p, Buffer &) { p.args.reserved = 1; });
  expect_refused("epsilon", [](Problem &p, Buffer &) { p.args.epsilon = -1e-6f; });
  expect_refused("epsilon", [=](Problem &p, Buffer &) { p.args.epsilon = inf; });
  expect_refused("epsilon", [=](Problem &p, Buffer &) { p.args.epsilon = inf - inf; });
}

TEST(ModulatedNorm, RefusesMemory) {
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  const auto odd = [](const void *p) { return static_cast<const char *>(p) + 1; };
  expect_refused("x", [](Problem &p, Buffer &) { p.args.x = nullptr; });
  expect_refused("y", [](Problem &p, Buffer &) { p.args.y = nullptr; });
  expect_refused("x", [=](Problem &p, Buffer &) { p.args.x = odd(p.args.x); });
  expect_refused("y", [](Problem &p, Buffer &) { p.args.y = static_cast<char *>(p.args.y) + 1; });
  expect_refused("scale", [=](Problem &p, Buffer &) { p.args.scale = odd(p.args.scale); });
  expect_refused("shift", [=](Problem &p, Buffer &) { p.args.shift = odd(p.args.shift); });
  expect_refused("h", [](Problem &p, Buffer &) { p.args.h = static_cast<char *>(p.args.h) + 1; });
  expect_refused("x_stride", [](Problem &p, Buffer &) { p.args.x_stride = 7; });
  expect_refused("y_stride", [](Problem &p, Buffer &) { p.args.y_stride = -8; });
  expect_refused("scale_stride", [](Problem &p, Buffer &) { p.args.scale_stride = 0; });
  expect_refused("shift_stride", [](Problem &p, Buffer &) { p.args.shift_stride = 7; });
  expect_refused("h_stride", [](Problem &p, Buffer &) { p.args.h_stride = 19; });
  expect_refused("x", [=](Problem &p, Buffer &) { p.args.x_stride = huge; });
  expect_refused("scale", [](Problem &p, Buffer &) { p.args.y = p.scale.data(); });
  expect_refused("shift", [](Problem &p, Buffer &) { p.args.y = p.shift.data(); });
  expect_refused("x", [](Problem &p, Buffer &) { p.args.y = p.x.at(1, 0); });
  expect_refused("x", [](Problem &p, Buffer &) {
    p.args.y = p.x.data();
    p.args.y_stride = 9;
  });
  expect_refused("h", [](Problem &p, Buffer &) { p.args.h = p.x.data(); });
  expect_refused("y", [](Problem &p, Buffer &h) { p.args.y = h.data(); });
  expect_refused("scale", [](Problem &p, Buffer &h) { p.args.scale = h.data(); });
  expect_refused("shift", [](Problem &p, Buffer &h) { p.args.shift = h.at(1, 0); });
}

TEST(ModulatedNorm, RefusesAdapters) {
  expect_refused("adapter_count", [](Problem &p, Buffer &) { p.args.adapters.adapter_count = 9; });
  expect_refused("segments", [](Problem &p, Buffer &) { p.args.adapters.segment_count = 2; });
  expect_refused("adapters", [](Problem &p, Buffer &) { p.args.adapters.adapters = nullptr; });
  expect_refused("down", [](Problem &p, Buffer &) { p.args.columns = 7; });
}

TEST(ModulatedNorm, WhatIsOfCudaIsRefusedOnCpu) {
  GLANCE_CPU_ONLY();
  const int32_t selection[] = {0, 1};
  expect_refused("device_index", [](Problem &p, Buffer &) { p.args.device_index = 1; });
  expect_refused("selection", [&](Problem &p, Buffer &) { p.args.adapters.selection = selection; });
  Problem p({4, 8, 0, 0, 2, GLANCE_F32, GLANCE_NORM_RMS, true, true, false, 0.0f}, 3);
  int not_a_stream = 0;
  EXPECT_TRUE(refused(glance_modulated_norm(&p.args, &not_a_stream), "stream"));
}

TEST(ModulatedNorm, NothingToDo) {
  Problem p({4, 8, 0, 0, 2, GLANCE_F32, GLANCE_NORM_RMS, true, true, false, 0.0f}, 3);
  p.args.rows = 0;
  p.args.x = p.args.scale = p.args.shift = nullptr;
  p.args.y = nullptr;
  EXPECT_EQ(run(&p), GLANCE_OK);
}

TEST(ModulatedNorm, GroupsNeedNotBeSaidWithoutScaleAndShift) {
  Problem p({4, 8, 0, 0, 4, GLANCE_F32, GLANCE_NORM_RMS, false, false, false, 0.0f}, 3);
  p.args.rows_per_group = 0;
  EXPECT_EQ(run(&p), GLANCE_OK) << glance_last_error();
}

}  // namespace
