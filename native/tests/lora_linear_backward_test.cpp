// glance_lora_linear_backward against a float64 oracle, on every instruction set of this machine or
// on CUDA.
#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/float64.h"
#include "tests/lora_backward_problem.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::Bounded;
using glance_test::Buffer;
using glance_test::Products;
using Case = glance_test::BackwardCase;
using Tensors = glance_test::BackwardTensors;
using Call = glance_test::BackwardCall;

// rows x columns values with their bounds.
struct Grid {
  int64_t columns = 0;
  std::vector<Bounded> all;

  const Bounded &at(int64_t r, int64_t c) const {
    return all[static_cast<size_t>(r * columns + c)];
  }
};

Grid exactly(const Buffer &b) {
  Grid grid{b.columns, {}};
  for (int64_t r = 0; r < b.rows; ++r) {
    for (int64_t c = 0; c < b.columns; ++c) grid.all.push_back({b.get(r, c), 0});
  }
  return grid;
}

Grid transposed(const Grid &g) {
  const int64_t rows = static_cast<int64_t>(g.all.size()) / g.columns;
  Grid grid{rows, {}};
  for (int64_t c = 0; c < g.columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) grid.all.push_back(g.at(r, c));
  }
  return grid;
}

// factor * (a b), summed in f32, where the values of a may be off and those of b are exact.
Grid product(double factor, const Grid &a, const Grid &b) {
  const int64_t inner = a.columns;
  Grid grid{b.columns, {}};
  std::vector<double> right;
  std::vector<double> right_sizes;
  for (const Bounded &value : b.all) {
    right.push_back(value.value);
    right_sizes.push_back(std::fabs(value.value));
  }
  for (size_t r = 0; r < a.all.size(); r += static_cast<size_t>(inner)) {
    std::vector<double> left, errors;
    for (size_t i = r; i < r + static_cast<size_t>(inner); ++i) {
      left.push_back(a.all[i].value);
      errors.push_back(a.all[i].error);
    }
    Products sums(b.columns), slack(b.columns);
    sums.add(left, right);
    slack.add(errors, right_sizes);
    for (int64_t c = 0; c < b.columns; ++c) {
      const Bounded sum = sums.at(c);
      grid.all.push_back(
          {factor * sum.value, std::fabs(factor) * (sum.error + slack.at(c).value) +
                                   2 * glance_test::kF32Rounding * std::fabs(factor * sum.value)});
    }
  }
  return grid;
}

// Whatever is kept between two products may be rounded to the call's type.
Grid stored_between(glance_dtype dtype, Grid grid) {
  for (Bounded &value : grid.all) {
    const double size = std::fabs(value.value) + value.error;
    value.error += glance_test::kF32Rounding * size + glance_test::narrowing_error(dtype, size);
  }
  return grid;
}

Grid sum(const Grid &a, const Grid &b, int64_t additions) {
  Grid grid = a;
  for (size_t i = 0; i < a.all.size(); ++i) {
    const double size = std::fabs(a.all[i].value) + std::fabs(b.all[i].value);
    const double rounding = static_cast<double>(additions) * glance_test::kF32Rounding;
    grid.all[i].value += b.all[i].value;
    grid.all[i].error += b.all[i].error + rounding * size;
  }
  return grid;
}

struct Oracle {
  Grid dx, d_down, d_up;

  explicit Oracle(const Tensors &t) {
    const Case &c = t.c;
    const Grid x = exactly(t.x), dy = exactly(t.dy), down = exactly(t.down), up = exactly(t.up);
    const Grid g = stored_between(c.dtype, product(t.scale, dy, up));
    const Grid h = stored_between(c.dtype, product(1, x, transposed(down)));
    dx = sum(product(1, dy, exactly(t.weight)), product(1, g, down), c.n + c.rank);
    d_down = product(1, transposed(g), x);
    d_up = transposed(product(t.scale, transposed(h), dy));
    if (c.accumulate) {
      d_down = sum(d_down, exactly(t.d_down), c.rows + 2);
      d_up = sum(d_up, exactly(t.d_up), c.rows + 2);
    }
  }
};

testing::AssertionResult matches(const char *what, const Case &call, const Grid &want,
                                 const Buffer &got) {
  double errors = 0, squares = 0;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.columns; ++c) {
      const Bounded &b = want.at(r, c);
      const double value = got.get(r, c);
      if (!glance_test::within(got.dtype, b, value)) {
        return testing::AssertionFailure() << what << " at " << r << "," << c << ": " << value
                                           << ", float64 says " << b.value << " +- " << b.error;
      }
      errors += (value - b.value) * (value - b.value);
      squares += b.value * b.value;
    }
  }
  const double limit = glance_test::relative_limit(call.dtype);
  // Few elements, or those of small K and N, which share a few factors, may all have cancelled.
  const bool many = got.rows * got.columns >= 16 && std::max(call.k, call.n) >= 16;
  if (many && !(errors <= limit * limit * squares)) {
    return testing::AssertionFailure()
           << what << ": relative error " << std::sqrt(errors / squares);
  }
  return testing::AssertionSuccess();
}

void check_case(const Case &c, unsigned seed) {
  const Tensors before(c, seed);
  const Oracle oracle(before);
  for (const glance_test::Variant &variant : glance_test::variants()) {
    SCOPED_TRACE(glance_test::name(variant) + " " + c.name() + " seed=" + std::to_string(seed));
    const glance_test::UseVariant use(variant);
    Tensors after(before);
    ASSERT_EQ(Call(&after).run(), GLANCE_OK) << glance_last_error();
    ASSERT_TRUE(matches("dx", c, oracle.dx, after.dx));
    ASSERT_TRUE(matches("d_down", c, oracle.d_down, after.d_down));
    ASSERT_TRUE(matches("d_up", c, oracle.d_up, after.d_up));
    ASSERT_TRUE(after.dx.gaps_untouched() && after.d_down.gaps_untouched() &&
                after.d_up.gaps_untouched())
        << "wrote a gap";
    ASSERT_TRUE(after.x.bytes == before.x.bytes && after.dy.bytes == before.dy.bytes &&
                after.down.bytes == before.down.bytes && after.up.bytes == before.up.bytes)
        << "wrote an input";
  }
}

// All types, and with accumulation or without.
void check_types(Case c, unsigned seed) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    for (const bool accumulate : {false, true}) {
      c.dtype = dtype;
      c.accumulate = accumulate;
      check_case(c, seed);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

int64_t pick(std::mt19937 &random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

template <typename T>
T pick(std::mt19937 &random, const std::vector<T> &from) {
  return from[static_cast<size_t>(pick(random, 0, static_cast<int64_t>(from.size()) - 1))];
}

TEST(LoraLinearBackward, Sizes) {
  unsigned seed = glance_test::first_seed();
  for (const int64_t rows : {1, 2, 3, 7, 16, 31, 33}) {
    for (const int64_t k : {1, 15, 16, 17, 33, 47, 65, 130}) {
      for (const int64_t n : {1, 3, 16, 31, 33, 64, 100}) {
        if (++seed % glance_test::sweep_step(1, 15) != 0) continue;
        std::mt19937 random(seed);
        Case c;
        c.dtype = pick(random, glance_test::dtypes());
        c.rows = rows;
        c.k = k;
        c.n = n;
        c.rank = pick(random, 1, 20);
        c.gap = pick(random, 0, 2);
        c.offset = pick(random, 0, 3);
        c.aligned = pick(random, 0, 1) == 1;
        c.accumulate = pick(random, 0, 1) == 1;
        check_case(c, seed);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(LoraLinearBackward, Ranks) {
  unsigned seed = glance_test::first_seed();
  for (const int64_t rank : {1, 3, 4, 16, 17, 32, 64, 256}) {
    Case c;
    c.rows = 23;
    c.k = 70;
    c.n = 41;
    c.rank = rank;
    c.gap = 1;
    c.offset = 1;
    c.aligned = rank % 2 == 0;
    check_types(c, ++seed);
    if (HasFatalFailure()) return;
  }
}

// Around the borders of CUDA's tiles, in layouts that its fastest paths take and in others.
TEST(LoraLinearBackward, TileBorders) {
  unsigned seed = glance_test::first_seed();
  for (const int64_t rows : {1, 127, 129, 300}) {
    for (const int64_t k : {8, 63, 128, 257}) {
      for (const int64_t n : {8, 65, 256}) {
        for (const bool aligned : {false, true}) {
          if (++seed % glance_test::sweep_step(1, 15) != 0) continue;
          std::mt19937 random(seed);
          Case c;
          c.dtype = pick(random, glance_test::dtypes());
          c.rows = rows;
          c.k = k;
          c.n = n;
          c.rank = pick(random, std::vector<int64_t>{4, 8, 16, 33, 64});
          c.gap = pick(random, 0, 1);
          c.offset = pick(random, 0, 1);
          c.aligned = aligned;
          c.accumulate = pick(random, 0, 1) == 1;
          check_case(c, seed);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(LoraLinearBackward, LargeSizes) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][3] = {{769, 67, 131}, {105, 192, 576}, {5, 2053, 67}, {67, 131, 3001}};
  for (const auto &size : sizes) {
    if (++seed % glance_test::sweep_step(1, 4) != 0) continue;
    Case c;
    c.rows = size[0];
    c.k = size[1];
    c.n = size[2];
    c.rank = 17;
    check_types(c, seed);
    if (HasFatalFailure()) return;
  }
}

TEST(LoraLinearBackward, RandomShapes) {
  unsigned seed = glance_test::first_seed() + 100000;
  for (unsigned i = 0; i < 200; i += glance_test::sweep_step(1, 20)) {
    std::mt19937 random(++seed);
    Case c;
    c.dtype = pick(random, glance_test::dtypes());
    c.rows = pick(random, 1, 150);
    c.k = pick(random, 1, 200);
    c.n = pick(random, 1, 200);
    c.rank = pick(random, 1, 70);
    c.gap = pick(random, 0, 5);
    c.offset = pick(random, 0, 3);
    c.aligned = pick(random, 0, 1) == 1;
    c.accumulate = pick(random, 0, 1) == 1;
    check_case(c, seed);
    if (HasFatalFailure()) return;
  }
}

// For all types in every way of computing, with sizes that are worth several threads.
void for_each_variant(const std::function<void(const Case &)> &check) {
  glance_test::for_each_variant([&](glance_dtype dtype) {
    Case c;
    c.dtype = dtype;
    c.rows = 203;
    c.k = 301;
    c.n = 130;
    c.rank = 19;
    c.gap = 1;
    SCOPED_TRACE(c.name());
    check(c);
  });
}

TEST(LoraLinearBackward, AnOutputThatIsNullIsNotComputed) {
  for_each_variant([](const Case &c) {
    const Tensors before(c, glance_test::first_seed());
    Tensors all(before);
    ASSERT_EQ(Call(&all).run(), GLANCE_OK) << glance_last_error();
    for (int asked = 0; asked < 8; ++asked) {
      Tensors some(before);
      Call call(&some);
      if ((asked & 1) == 0) {
        call.args.dx = nullptr;
        call.args.weight_transposed = nullptr;
      }
      if ((asked & 2) == 0) call.args.d_down = nullptr;
      if ((asked & 4) == 0) call.args.d_up = nullptr;
      ASSERT_EQ(call.run(), GLANCE_OK) << glance_last_error();
      ASSERT_TRUE(some.dx.bytes == ((asked & 1) != 0 ? all : before).dx.bytes) << asked;
      ASSERT_TRUE(some.d_down.bytes == ((asked & 2) != 0 ? all : before).d_down.bytes) << asked;
      ASSERT_TRUE(some.d_up.bytes == ((asked & 4) != 0 ? all : before).d_up.bytes) << asked;
    }
  });
}

TEST(LoraLinearBackward, SameBitsForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
  for_each_variant([](const Case &c) {
    const Tensors before(c, glance_test::first_seed());
    const auto with_threads = [&](int32_t threads) {
      const glance_test::UseThreads use(threads);
      Tensors after(before);
      EXPECT_EQ(Call(&after).run(), GLANCE_OK) << glance_last_error();
      return after;
    };
    const Tensors one = with_threads(1);
    for (const int32_t threads : {2, 3}) {
      const Tensors several = with_threads(threads);
      ASSERT_TRUE(several.dx.bytes == one.dx.bytes) << threads;
      ASSERT_TRUE(several.d_down.bytes == one.d_down.bytes) << threads;
      ASSERT_TRUE(several.d_up.bytes == one.d_up.bytes) << threads;
    }
  });
}

// Where spoil made an output not finite, as asked; everywhere else the bits are as before.
void check_spread(const char *what, const Buffer &clean, const Buffer &spoiled,
                  const std::function<bool(int64_t, int64_t)> &reached) {
  for (int64_t r = 0; r < clean.rows; ++r) {
    for (int64_t c = 0; c < clean.columns; ++c) {
      if (reached(r, c)) {
        ASSERT_FALSE(std::isfinite(spoiled.get(r, c))) << what << " at " << r << "," << c;
      } else {
        ASSERT_EQ(spoiled.get(r, c), clean.get(r, c)) << what << " at " << r << "," << c;
      }
    }
  }
}

TEST(LoraLinearBackward, NonFiniteValuesStayWhereTheyBelong) {
  for_each_variant([](const Case &c) {
    const auto result = [&](const std::function<void(Tensors &)> &spoil) {
      Tensors t(c, glance_test::first_seed());
      spoil(t);
      EXPECT_EQ(Call(&t).run(), GLANCE_OK) << glance_last_error();
      return t;
    };
    const Tensors clean = result([](Tensors &) {});
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const Tensors x = result([&](Tensors &t) { t.x.set(202, 299, bad); });
      check_spread("dx", clean.dx, x.dx, [](int64_t, int64_t) { return false; });
      check_spread("d_down", clean.d_down, x.d_down, [](int64_t, int64_t k) { return k == 299; });
      const Tensors dy = result([&](Tensors &t) { t.dy.set(7, 129, bad); });
      check_spread("dx", clean.dx, dy.dx, [](int64_t r, int64_t) { return r == 7; });
      check_spread("d_up", clean.d_up, dy.d_up, [](int64_t n, int64_t) { return n == 129; });
      const Tensors weight = result([&](Tensors &t) { t.weight.set(64, 300, bad); });
      check_spread("dx", clean.dx, weight.dx, [](int64_t, int64_t k) { return k == 300; });
      const Tensors down = result([&](Tensors &t) { t.down.set(18, 5, bad); });
      check_spread("dx", clean.dx, down.dx, [](int64_t, int64_t k) { return k == 5; });
      check_spread("d_up", clean.d_up, down.d_up, [](int64_t, int64_t j) { return j == 18; });
      const Tensors up = result([&](Tensors &t) { t.up.set(0, 3, bad); });
      check_spread("d_down", clean.d_down, up.d_down, [](int64_t j, int64_t) { return j == 3; });
    }
  });
}

}  // namespace
