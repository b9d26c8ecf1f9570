// conv2d against float64, on every instruction set of the machine.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "tests/conv2d_problem.h"
#include "tests/variants.h"

namespace {

using glance_test::Conv2dCase;
using glance_test::Conv2dProblem;
using glance_test::UseThreads;
using glance_test::UseVariant;
using glance_test::Variant;
using glance_test::variants;

glance_status run(Conv2dProblem &p) {
  p.pack();
  return glance_conv2d(&p.args, nullptr);
}

// u of every pixel and channel, in f64.
class Input {
 public:
  explicit Input(const Conv2dProblem &p) : p_(p), u_(static_cast<size_t>(p.x.rows * p.c.in)) {
    for (int64_t s = 0; s < p.c.samples; ++s) {
      if (p.c.norm == GLANCE_CONV2D_NORM_GROUP) {
        for (int64_t g = 0; g < p.c.groups; ++g) group(s, g);
      }
    }
    for (int64_t i = 0; i < p.x.rows; ++i) {
      if (p.c.norm == GLANCE_CONV2D_NORM_PIXEL) pixel(i);
      for (int64_t c = 0; c < p.c.in; ++c) {
        double &u = at(i, c);
        if (p.c.norm == GLANCE_CONV2D_NORM_NONE) u = p.x.get(i, c);
        if (p.c.silu) u = u / (1 + std::exp(-u));
      }
    }
  }

  // 0 outside the picture.
  double get(int64_t sample, int64_t row, int64_t column, int64_t channel) const {
    if (row < 0 || row >= p_.c.height || column < 0 || column >= p_.c.width) return 0;
    const int64_t pixel = (sample * p_.c.height + row) * p_.c.width + column;
    return u_[static_cast<size_t>(pixel * p_.c.in + channel)];
  }

 private:
  double &at(int64_t pixel, int64_t channel) {
    return u_[static_cast<size_t>(pixel * p_.c.in + channel)];
  }

  double affine(int64_t channel, double n) const {
    return p_.c.affine ? n * p_.norm_weight.get(0, channel) + p_.norm_bias.get(0, channel) : n;
  }

  void group(int64_t sample, int64_t g) {
    const int64_t pixels = p_.c.height * p_.c.width;
    const int64_t width = p_.c.in / p_.c.groups;
    const auto each = [&](const auto &body) {
      for (int64_t i = sample * pixels; i < (sample + 1) * pixels; ++i) {
        for (int64_t c = g * width; c < (g + 1) * width; ++c) body(i, c);
      }
    };
    double mean = 0, squares = 0;
    const auto count = static_cast<double>(pixels * width);
    each([&](int64_t i, int64_t c) { mean += p_.x.get(i, c) / count; });
    each([&](int64_t i, int64_t c) {
      squares += (p_.x.get(i, c) - mean) * (p_.x.get(i, c) - mean) / count;
    });
    each([&](int64_t i, int64_t c) {
      at(i, c) = affine(c, (p_.x.get(i, c) - mean) / std::sqrt(squares + 1e-6));
    });
  }

  void pixel(int64_t i) {
    double squares = 0;
    for (int64_t c = 0; c < p_.c.in; ++c) {
      squares += static_cast<double>(p_.x.get(i, c)) * p_.x.get(i, c);
    }
    const double length = std::max(std::sqrt(squares), 1e-6);
    for (int64_t c = 0; c < p_.c.in; ++c) {
      at(i, c) = affine(c, p_.x.get(i, c) / length * std::sqrt(static_cast<double>(p_.c.in)));
    }
  }

  const Conv2dProblem &p_;
  std::vector<double> u_;
};

// The value of y, and the sum of the sizes of the products that are added up for it.
struct Expected {
  double value, size;
};

// What WINOGRAD adds up for a pixel, with every factor and sum taken by its size: the first-order
// effect of a relative error in each step is at most so large.
class WinogradSize {
 public:
  explicit WinogradSize(const Conv2dProblem &p, const Input &u)
      : p_(p), u_(u), m_(glance_test::winograd(p.c.upscale)) {
    for (int64_t o = 0; o < p.c.out; ++o) {
      for (int f = 0; f < m_.frequencies * m_.frequencies; ++f) {
        for (int64_t i = 0; i < p.c.in; ++i) weights_.push_back(weight(o, f, i));
      }
    }
  }

  // Of all channels of y.
  std::vector<double> at(int64_t sample, int64_t row, int64_t column) const {
    std::vector<double> sizes(static_cast<size_t>(p_.c.out));
    const int n = m_.frequencies;
    for (int f = 0; f < n * n; ++f) {
      const double factor = std::fabs(m_.a[row % 2][f / n] * m_.a[column % 2][f % n]);
      for (int64_t i = 0; factor != 0 && i < p_.c.in; ++i) {
        const double v = input(sample, row / 2, column / 2, f, i);
        for (int64_t o = 0; o < p_.c.out; ++o) {
          sizes[static_cast<size_t>(o)] +=
              factor * v * weights_[static_cast<size_t>((o * n * n + f) * p_.c.in + i)];
        }
      }
    }
    return sizes;
  }

 private:
  double weight(int64_t o, int f, int64_t i) const {
    double size = 0;
    for (int64_t t = 0; t < 9; ++t) {
      size += std::fabs(m_.g[f / m_.frequencies][t / 3] * m_.g[f % m_.frequencies][t % 3] *
                        p_.kernel.get(o, t * p_.c.in + i));
    }
    return size;
  }

  double input(int64_t sample, int64_t down, int64_t across, int f, int64_t channel) const {
    const int64_t step = p_.c.upscale ? 1 : 2;
    double size = 0;
    for (int i = 0; i < m_.patch; ++i) {
      for (int j = 0; j < m_.patch; ++j) {
        const double factor = m_.b[f / m_.frequencies][i] * m_.b[f % m_.frequencies][j];
        if (factor == 0) continue;
        size += std::fabs(
            factor * u_.get(sample, down * step + i - 1, across * step + j - 1, channel));
      }
    }
    return size;
  }

  const Conv2dProblem &p_;
  const Input &u_;
  const glance_test::Winograd &m_;
  std::vector<double> weights_;
};

Expected expected(const Conv2dProblem &p, const Input &u, int64_t sample, int64_t row,
                  int64_t column, int64_t o) {
  const Conv2dCase &c = p.c;
  Expected sum = {0, 0};
  const int64_t rim = c.kernel / 2;
  for (int64_t t = 0; t < c.kernel * c.kernel; ++t) {
    const int64_t r = row + t / c.kernel - rim;
    const int64_t q = column + t % c.kernel - rim;
    if (r < 0 || q < 0 || r >= c.height * c.scale() || q >= c.width * c.scale()) continue;
    for (int64_t i = 0; i < c.in; ++i) {
      const double product =
          u.get(sample, r / c.scale(), q / c.scale(), i) * p.kernel.get(o, t * c.in + i);
      sum.value += product;
      sum.size += std::fabs(product);
    }
  }
  const int64_t pixel = (sample * c.height * c.scale() + row) * c.width * c.scale() + column;
  if (c.bias) sum.value += p.bias.get(0, o);
  if (c.residual || c.in_place) sum.value += p.residual.get(pixel, o);
  sum.size += std::fabs(sum.value);
  return sum;
}

void check_values(const Conv2dProblem &p) {
  const Input u(p);
  // The norm and SiLU cost a few roundings of u, and more where the mean is far from zero.
  const double relative = std::ldexp(
      64 + static_cast<double>(p.kernel.columns) / 4 + 8 * std::fabs(p.c.offset), -24);
  std::optional<WinogradSize> winograd;
  if (p.c.in_winograd()) winograd.emplace(p, u);
  const int64_t width = p.c.width * p.c.scale();
  const int64_t height = p.c.height * p.c.scale();
  for (int64_t pixel = 0; pixel < p.y.rows; ++pixel) {
    const int64_t sample = pixel / width / height;
    const int64_t row = pixel / width % height;
    const int64_t column = pixel % width;
    std::vector<double> sizes(static_cast<size_t>(p.c.out));
    if (winograd) sizes = winograd->at(sample, row, column);
    for (int64_t o = 0; o < p.c.out; ++o) {
      const Expected want = expected(p, u, sample, row, column, o);
      const double size = std::max(want.size, sizes[static_cast<size_t>(o)]);
      ASSERT_NEAR(p.y.get(pixel, o), want.value, relative * (size + 1e-3))
          << "pixel " << pixel << " channel " << o;
    }
  }
}

void check_case(const Conv2dCase &c, unsigned seed) {
  for (const Variant &variant : variants()) {
    SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed) + " " + name(variant));
    const UseVariant use(variant);
    Conv2dProblem p(c, seed), before(c, seed);
    ASSERT_EQ(run(p), GLANCE_OK) << glance_last_error();
    check_values(p);
    if (testing::Test::HasFatalFailure()) return;
    EXPECT_TRUE(p.y.gaps_untouched());
    EXPECT_EQ(p.x.bytes, before.x.bytes);
    EXPECT_EQ(p.residual.bytes, before.residual.bytes);
  }
}

TEST(Conv2d, Values) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][5] = {{1, 1, 1, 1, 1},   {2, 3, 5, 3, 7},   {1, 8, 8, 16, 96},
                              {1, 5, 71, 8, 33}, {2, 17, 29, 6, 3}, {1, 2, 30, 168, 20},
                              {1, 9, 4, 512, 8}, {1, 6, 15, 32, 32}};
  for (const auto &size : sizes) {
    for (int bits = 0; bits < 36; ++bits) {
      if (++seed % glance_test::sweep_step(1, 1) != 0) continue;
      Conv2dCase c;
      c.samples = size[0], c.height = size[1], c.width = size[2], c.in = size[3], c.out = size[4];
      c.norm = bits % 3;
      c.groups = c.norm == GLANCE_CONV2D_NORM_GROUP ? (c.in % 4 == 0 ? c.in / 4 : 1) : 0;
      c.upscale = bits / 3 % 4 == 3;
      c.kernel = bits / 3 % 4 == 0 ? 1 : 3;
      c.winograd = bits / 3 % 4 == 2;
      c.silu = bits / 12 == 1;
      const int added = (bits + bits / 12) % 4;
      c.residual = added == 1;
      c.in_place = added == 2;
      c.bias = bits % 5 != 0;
      c.affine = bits % 7 != 0;
      check_case(c, seed);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Conv2d, MeanFarFromZero) {
  Conv2dCase c;
  c.height = 40, c.width = 30, c.in = 16, c.out = 8;
  c.norm = GLANCE_CONV2D_NORM_GROUP, c.groups = 4, c.silu = true, c.offset = 300.0f;
  for (const bool winograd : {false, true}) {
    c.winograd = winograd;
    check_case(c, glance_test::first_seed());
  }
}

// One channel of a group lies far from the others.
TEST(Conv2d, ChannelsApart) {
  Conv2dCase c;
  c.height = 20, c.width = 20, c.in = 8, c.out = 8;
  c.norm = GLANCE_CONV2D_NORM_GROUP, c.groups = 2;
  Conv2dProblem p(c, glance_test::first_seed());
  for (int64_t i = 0; i < p.x.rows; ++i) p.x.set(i, 3, p.x.get(i, 3) + 50.0f);
  ASSERT_EQ(run(p), GLANCE_OK) << glance_last_error();
  check_values(p);
}

TEST(Conv2d, SameBitsForAnyNumberOfThreads) {
  Conv2dCase c;
  c.samples = 2, c.height = 61, c.width = 75, c.in = 24, c.out = 40;
  c.norm = GLANCE_CONV2D_NORM_GROUP, c.groups = 3, c.silu = true, c.residual = true;
  for (const int form : {0, 1, 2}) {
    c.winograd = form == 1, c.upscale = form == 2;
    const unsigned seed = glance_test::first_seed();
    std::vector<unsigned char> alone;
    for (const int32_t threads : {1, 2, 3, 5}) {
      const UseThreads use(threads);
      Conv2dProblem p(c, seed);
      ASSERT_EQ(run(p), GLANCE_OK) << glance_last_error();
      if (threads == 1) alone = p.y.bytes;
      EXPECT_EQ(p.y.bytes, alone) << threads << " threads, seed " << seed;
    }
  }
}

void check_alone_and_in_batch(Conv2dCase c) {
  c.samples = 3, c.height = 9, c.width = 20, c.in = 12, c.out = 10;
  c.norm = GLANCE_CONV2D_NORM_GROUP, c.groups = 3, c.silu = true;
  Conv2dProblem all(c, 7);
  ASSERT_EQ(run(all), GLANCE_OK);
  c.samples = 1;
  Conv2dProblem one(c, 7);
  one.kernel = all.kernel, one.bias = all.bias;
  one.norm_weight = all.norm_weight, one.norm_bias = all.norm_bias;
  for (int64_t i = 0; i < one.x.rows; ++i) {
    for (int64_t j = 0; j < c.in; ++j) one.x.set(i, j, all.x.get(2 * one.x.rows + i, j));
  }
  one.args.x = one.x.data(), one.args.bias = one.bias.data();
  one.args.norm_weight = one.norm_weight.data(), one.args.norm_bias = one.norm_bias.data();
  ASSERT_EQ(run(one), GLANCE_OK);
  for (int64_t i = 0; i < one.y.rows; ++i) {
    for (int64_t o = 0; o < c.out; ++o) {
      ASSERT_EQ(one.y.get(i, o), all.y.get(2 * one.y.rows + i, o)) << i << "," << o;
    }
  }
}

TEST(Conv2d, ASampleHasTheSameBitsAloneAndInABatch) {
  Conv2dCase c;
  check_alone_and_in_batch(c);
  c.winograd = true;
  check_alone_and_in_batch(c);
  c.upscale = true;
  check_alone_and_in_batch(c);
}

// Also in WINOGRAD, whose tiles are larger.
void check_special_value(const Conv2dCase &c, float value) {
  Conv2dProblem clean(c, 3), spoiled(c, 3);
  spoiled.x.set(2 * c.width + 4, 1, value);
  ASSERT_EQ(run(clean), GLANCE_OK);
  ASSERT_EQ(run(spoiled), GLANCE_OK);
  // Half the size of the neighbourhood, and the middle of what the pixel becomes, in half pixels.
  const int64_t reach = 2 + c.scale() - 1;
  const int64_t row = 2 * 2 * c.scale() + c.scale() - 1;
  const int64_t column = 2 * 4 * c.scale() + c.scale() - 1;
  const int64_t width = c.width * c.scale();
  for (int64_t i = 0; i < clean.y.rows; ++i) {
    const bool near = std::abs(2 * (i / width) - row) <= reach &&
                      std::abs(2 * (i % width) - column) <= reach;
    for (int64_t o = 0; o < c.out; ++o) {
      if (near) {
        EXPECT_TRUE(std::isnan(spoiled.y.get(i, o))) << i << "," << o;
      } else {
        EXPECT_EQ(spoiled.y.get(i, o), clean.y.get(i, o)) << i << "," << o;
      }
    }
  }
}

TEST(Conv2d, SpecialValuesStayInTheirNeighbourhood) {
  Conv2dCase c;
  c.height = 6, c.width = 9, c.in = 5, c.out = 4;
  c.norm = GLANCE_CONV2D_NORM_PIXEL, c.silu = true;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity()}) {
    for (const Variant &variant : variants()) {
      const UseVariant use(variant);
      for (const int form : {0, 1, 2}) {
        c.winograd = form == 1, c.upscale = form == 2;
        SCOPED_TRACE(c.name());
        check_special_value(c, value);
      }
    }
  }
}

}  // namespace
