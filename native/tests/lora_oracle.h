// glance_lora_linear in float64, with the error an f32 computation of it may have.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/float64.h"
#include "tests/lora_problem.h"

namespace glance_test {

inline std::vector<double> row_of(const Buffer &b, int64_t row) {
  std::vector<double> values;
  for (int64_t c = 0; c < b.columns; ++c) values.push_back(b.get(row, c));
  return values;
}

inline std::vector<double> transposed(const Buffer &b) {
  std::vector<double> values;
  for (int64_t c = 0; c < b.columns; ++c) {
    for (int64_t r = 0; r < b.rows; ++r) values.push_back(b.get(r, c));
  }
  return values;
}

class LoraOracle {
 public:
  explicit LoraOracle(const LoraTensors &tensors) : t(tensors) {
    std::vector<std::vector<double>> down;
    for (const Buffer &a : t.down) down.push_back(transposed(a));
    for (int64_t i = 0; i < t.c.rows; ++i) {
      const int32_t a = t.c.adapter_of(i);
      h_.push_back(a < 0 ? std::vector<Bounded>() : h_row(i, a, down[static_cast<size_t>(a)]));
    }
    for (size_t g = 0; g < t.c.linears.size(); ++g) {
      const std::vector<double> w = transposed(t.weight[g]);
      std::vector<std::vector<double>> up;
      for (const auto &of_adapter : t.up) up.push_back(transposed(of_adapter[g]));
      y_.emplace_back();
      for (int64_t i = 0; i < t.c.rows; ++i) add_row(g, i, w, up);
    }
  }

  const Bounded &y(size_t linear, int64_t row, int64_t column) const {
    return y_[linear][static_cast<size_t>(row * t.c.linears[linear].n + column)];
  }

 private:
  // One row of h. value is rounded as it is stored; error is how far another right one may be.
  std::vector<Bounded> h_row(int64_t row, int32_t adapter, const std::vector<double> &down) const {
    std::vector<Bounded> h;
    Products products(t.c.down_rows(adapter));
    if (!t.c.given_h) products.add(row_of(t.x, row), down);
    for (int64_t j = 0; j < t.c.down_rows(adapter); ++j) {
      if (t.c.given_h) {
        h.push_back({t.h.get(row, j), 0});
        continue;
      }
      const double scale = t.scale[static_cast<size_t>(adapter)];
      const Bounded exact = products.at(j);
      const double value = scale * exact.value;
      const double error = std::fabs(scale) * exact.error + kF32Rounding * std::fabs(value);
      const double stored = rounded(t.c.dtype, value);
      h.push_back({stored, std::max(rounded(t.c.dtype, value + error) - stored,
                                    stored - rounded(t.c.dtype, value - error))});
    }
    return h;
  }

  void add_row(size_t g, int64_t row, const std::vector<double> &w,
               const std::vector<std::vector<double>> &up) {
    const LinearCase &l = t.c.linears[g];
    const int32_t a = t.c.adapter_of(row);
    const int64_t rank = a < 0 ? 0 : t.c.rank(a, g);
    Products sums(l.n);
    Products slack(l.n);
    sums.add(row_of(t.x, row), w);
    if (rank > 0) {
      const std::vector<Bounded> &h = h_[static_cast<size_t>(row)];
      const size_t first = static_cast<size_t>(t.c.first(a, g));
      std::vector<double> values, errors;
      for (size_t j = first; j < first + static_cast<size_t>(rank); ++j) {
        values.push_back(h[j].value);
        errors.push_back(h[j].error);
      }
      std::vector<double> sizes = up[static_cast<size_t>(a)];
      for (double &b : sizes) b = std::fabs(b);
      sums.add(values, up[static_cast<size_t>(a)]);
      slack.add(errors, sizes);
    }
    for (int64_t n = 0; n < l.n; ++n) {
      Bounded s = sums.at(n);
      s.error += slack.at(n).value;
      if (l.bias) s = biased(s, t.bias[g].get(0, n));
      y_[g].push_back(after_epilogue(g, row, n, s));
    }
  }

  // The bias may come first or last: each addition's rounding is of the size of what it adds to.
  Bounded biased(const Bounded &s, double bias) const {
    const double terms = static_cast<double>(t.c.k + GLANCE_MAX_RANK);
    return {s.value + bias,
            s.error + kF32Rounding * (terms * std::fabs(bias) + std::fabs(s.value))};
  }

  Bounded after_epilogue(size_t g, int64_t row, int64_t n, const Bounded &s) const {
    const LinearCase &l = t.c.linears[g];
    if (l.epilogue == GLANCE_EPILOGUE_GELU_TANH) {
      const double inner =
          std::sqrt(2 / std::acos(-1.0)) * (s.value + 0.044715 * s.value * s.value * s.value);
      // GELU's slope is below 1.13; the rest is for its own roundings, which cancel where s < 0.
      return {s.value / 2 * (1 + std::tanh(inner)),
              1.13 * s.error + 16 * kF32Rounding * std::fabs(s.value)};
    }
    if (l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
      const double gate = t.gate[g].get(row / l.rows_per_gate, n);
      const double product = gate * s.value;
      const double residual = t.residual[g].get(row, n);
      return {residual + product,
              std::fabs(gate) * s.error +
                  3 * kF32Rounding * (std::fabs(residual) + std::fabs(product))};
    }
    return s;
  }

  const LoraTensors &t;
  // [row][column]; no columns in rows without an adapter.
  std::vector<std::vector<Bounded>> h_;
  // [linear][row * N + column]
  std::vector<std::vector<Bounded>> y_;
};

// Every element is within its bounds, and so is each linear's error as a whole.
inline testing::AssertionResult matches(const LoraOracle &oracle, const LoraTensors &after) {
  const LoraCase &c = after.c;
  for (size_t g = 0; g < c.linears.size(); ++g) {
    double errors = 0, squares = 0;
    for (int64_t i = 0; i < c.rows; ++i) {
      for (int64_t n = 0; n < c.linears[g].n; ++n) {
        const Bounded &want = oracle.y(g, i, n);
        const double got = after.get_y(g, i, n);
        if (!within(c.dtype, want, got)) {
          return testing::AssertionFailure()
                 << "linear " << g << " at " << i << "," << n << ": " << got << ", float64 says "
                 << want.value << " +- " << want.error;
        }
        errors += (got - want.value) * (got - want.value);
        squares += want.value * want.value;
      }
    }
    const double limit = relative_limit(c.dtype);
    // Few elements, or those of small K and N, which share a few factors, may all have cancelled.
    const bool many = c.rows * c.linears[g].n >= 16 && std::max(c.k, c.linears[g].n) >= 16;
    if (many && !(errors <= limit * limit * squares)) {
      return testing::AssertionFailure()
             << "linear " << g << ": relative error " << std::sqrt(errors / squares);
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace glance_test
