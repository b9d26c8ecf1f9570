// glance_attention in float64, with the error an f32 computation of it may have.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/attention_problem.h"
#include "tests/float64.h"

namespace glance_test {

// Whether an f32 computation gets the scores without any rounding, as with small whole numbers.
enum class Scores { rounded, exact };

// One query's weights: e^(its scores less the largest), and the relative error of each.
struct Weights {
  std::vector<double> values;
  double sum = 0;
  double error = 0;

  Weights(const double *q, const std::vector<double> &k, int64_t dim, double scale, Scores kind) {
    const int64_t keys = static_cast<int64_t>(k.size()) / dim;
    double score_error = 0;
    for (int64_t j = 0; j < keys; ++j) {
      double product = 0, size = 0;
      for (int64_t i = 0; i < dim; ++i) {
        product += q[i] * k[static_cast<size_t>(j * dim + i)];
        size += std::fabs(q[i] * k[static_cast<size_t>(j * dim + i)]);
      }
      values.push_back(scale * product);
      const double roundings = static_cast<double>(2 * dim + 3);
      score_error = std::max(score_error, roundings * kF32Rounding * std::fabs(scale) * size);
    }
    const double most = *std::max_element(values.begin(), values.end());
    const double least = *std::min_element(values.begin(), values.end());
    // The difference from the largest rounds too; below -87 a weight no longer matters.
    score_error += kF32Rounding * std::min(most - least, 100.0);
    if (kind == Scores::exact) score_error = 0;
    error = std::expm1(2 * score_error) + 8 * kF32Rounding;
    for (double &value : values) sum += value = std::exp(value - most);
  }
};

// One head's out, query by query.
inline std::vector<Bounded> attention_oracle(const AttentionProblem &p, int64_t b, int64_t h,
                                             Scores kind) {
  const std::vector<double> q = p.q.head(b, h), k = p.k.head(b, h), v = p.v.head(b, h);
  const size_t dim = static_cast<size_t>(p.c.dim);
  const double keys = static_cast<double>(p.c.keys);
  // The factors of the second product are rounded to the inputs' type.
  const double weight_rounding = p.c.dtype == GLANCE_BF16 ? std::ldexp(1.0, -8) : 0;
  std::vector<Bounded> out;
  for (size_t t = 0; t < static_cast<size_t>(p.c.queries); ++t) {
    const Weights weights(q.data() + t * dim, k, p.c.dim, static_cast<double>(p.c.scale), kind);
    for (size_t i = 0; i < dim; ++i) {
      double value = 0, size = 0, largest = 0;
      for (size_t j = 0; j < weights.values.size(); ++j) {
        value += weights.values[j] * v[j * dim + i] / weights.sum;
        size += weights.values[j] * std::fabs(v[j * dim + i]) / weights.sum;
        largest = std::max(largest, std::fabs(v[j * dim + i]));
      }
      const double relative = 2 * weights.error + weight_rounding + (2 * keys + 40) * kF32Rounding;
      // A weight of less than e^-87 counts as that.
      out.push_back({value, 1.01 * relative * size + keys * 2e-38 * largest});
    }
  }
  return out;
}

// Every element is within its bound, and the whole as close as DESIGN's figures say.
inline testing::AssertionResult attention_right(const AttentionProblem &after,
                                                const std::vector<std::vector<Bounded>> &want) {
  const AttentionCase &c = after.c;
  double squares = 0, errors = 0;
  int64_t elements = 0;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t h = 0; h < c.heads; ++h) {
      size_t at = 0;
      for (const Bounded &w : want[static_cast<size_t>(b * c.heads + h)]) {
        const int64_t t = static_cast<int64_t>(at) / c.dim, i = static_cast<int64_t>(at) % c.dim;
        ++at;
        const double got = after.out.get(b, h, t, i);
        if (!within(c.out_dtype, w, got)) {
          return testing::AssertionFailure()
                 << "batch " << b << " head " << h << " query " << t << " at " << i << ": " << got
                 << ", float64 says " << w.value << " +- " << w.error;
        }
        squares += w.value * w.value;
        errors += (got - w.value) * (got - w.value);
        ++elements;
      }
    }
  }
  const bool wide = c.dtype == GLANCE_F32 && c.out_dtype == GLANCE_F32;
  // Of few elements, or few channels, all may happen to be differences of much larger ones.
  if (elements >= 100 && c.dim >= 16 && !(errors <= squares * std::pow(wide ? 1e-5 : 1e-2, 2))) {
    return testing::AssertionFailure() << "relative error " << std::sqrt(errors / squares);
  }
  return testing::AssertionSuccess();
}

inline std::vector<std::vector<Bounded>> attention_oracle(const AttentionProblem &p,
                                                          Scores kind = Scores::rounded) {
  std::vector<std::vector<Bounded>> all;
  for (int64_t b = 0; b < p.c.batch; ++b) {
    for (int64_t h = 0; h < p.c.heads; ++h) all.push_back(attention_oracle(p, b, h, kind));
  }
  return all;
}

}  // namespace glance_test
