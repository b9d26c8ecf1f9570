// Sums of products in float64, with the error an f32 computation of them may have.
#pragma once

#include <glance/core.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support.h"
#include "tests/variants.h"

namespace glance_test {

// Half the distance between neighbouring f32 values around 1: what one rounding costs.
constexpr double kF32Rounding = 1.0 / (1 << 24);

// As rounded() of an f32 value, to which value is rounded first.
inline double rounded(glance_dtype dtype, double value) {
  return rounded(dtype, static_cast<float>(value));
}

// A value, and how far from it a right result may be before it is stored.
struct Bounded {
  double value = 0;
  double error = 0;
};

// How large an operation's error as a whole may be, relative to its result.
inline double relative_limit(glance_dtype dtype) {
  return dtype == GLANCE_F32 ? 1e-5 : dtype == GLANCE_BF16 ? 1e-2 : 2e-3;
}

// Whether got is what some value within the bounds is stored as.
inline bool within(glance_dtype dtype, const Bounded &b, double got) {
  return rounded(dtype, b.value - b.error) <= got && got <= rounded(dtype, b.value + b.error);
}

// Sums of products for a whole row of outputs, and the sums of their sizes.
class Products {
 public:
  explicit Products(int64_t outputs)
      : sum_(static_cast<size_t>(outputs)), size_(static_cast<size_t>(outputs)) {}

  // transposed is terms x outputs.
  void add(const std::vector<double> &row, const std::vector<double> &transposed) {
    const size_t outputs = sum_.size();
    for (size_t k = 0; k < row.size(); ++k) {
      const double *w = transposed.data() + k * outputs;
      for (size_t n = 0; n < outputs; ++n) {
        const double product = row[k] * w[n];
        sum_[n] += product;
        size_[n] += std::fabs(product);
      }
    }
    terms_ += static_cast<double>(row.size());
  }

  // Every product and every addition rounds once, in whatever order. Tensor cores may cut off what
  // others round, which costs twice as much.
  Bounded at(int64_t n) const {
    const size_t i = static_cast<size_t>(n);
    const double rounding = on_cuda() ? 2 * kF32Rounding : kF32Rounding;
    return {sum_[i], 1.01 * (terms_ + 2) * rounding * size_[i] + 1e-30};
  }

 private:
  std::vector<double> sum_, size_;
  double terms_ = 0;
};

}  // namespace glance_test
