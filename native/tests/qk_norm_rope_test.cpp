// glance_qk_norm_rope against a float64 oracle, on every instruction set of this machine or on
// CUDA: ragged sizes, both layouts of the outputs, places among other tokens, odd addresses,
// threads, NaN and infinity, and every argument that must be refused.
#include <glance/qk_norm_rope.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

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

// Tokens of other streams in the outputs, before and after this call's.
constexpr int64_t kBefore = 2;
constexpr int64_t kAfter = 1;

struct Case {
  int64_t batch, tokens, heads, dim, gap;
  glance_dtype dtype, out_dtype;
  bool with_v;
  // Outputs in memory: heads outside tokens, or tokens outside heads.
  bool heads_outside;

  std::string name() const {
    return "batch=" + std::to_string(batch) + " tokens=" + std::to_string(tokens) +
           " heads=" + std::to_string(heads) + " dim=" + std::to_string(dim) +
           " gap=" + std::to_string(gap) + " dtype=" + glance_test::name(dtype) +
           " out_dtype=" + glance_test::name(out_dtype) + " with_v=" + std::to_string(with_v) +
           " heads_outside=" + std::to_string(heads_outside);
  }
};

struct Problem {
  Case c;
  // q, k and v are column ranges of one projection.
  Buffer projection, q_weight, k_weight, rotation;
  // A row for each head of each place, this call's and the others'.
  Buffer q_out, k_out, v_out;
  glance_qk_norm_rope_args args = {};

  Problem(const Case &shape, unsigned seed)
      : c(shape),
        projection(c.dtype, c.batch * c.tokens, 3 * c.heads * c.dim, c.gap, c.gap),
        q_weight(c.dtype, 1, c.dim, 0, c.gap),
        k_weight(c.dtype, 1, c.dim, 0, 0),
        rotation(GLANCE_F32, c.tokens, c.dim, 0, c.gap),
        q_out(c.out_dtype, c.batch * c.heads * places(), c.dim, c.gap, c.gap),
        k_out(q_out),
        v_out(q_out) {
    std::mt19937 random(seed);
    projection.fill(random);
    q_weight.fill(random);
    k_weight.fill(random);
    std::uniform_real_distribution<float> angle(-3.1f, 3.1f);
    for (int64_t t = 0; t < c.tokens; ++t) {
      for (int64_t j = 0; j < c.dim; j += 2) {
        const float turn = angle(random);
        rotation.set(t, j, std::cos(turn));
        rotation.set(t, j + 1, std::sin(turn));
      }
    }
    point();
  }
  Problem(const Problem &) = delete;
  Problem &operator=(const Problem &) = delete;

  int64_t places() const { return kBefore + c.tokens + kAfter; }

  // The row of an output that holds a head.
  int64_t row(int64_t batch, int64_t head, int64_t token) const {
    const int64_t place = kBefore + token;
    return c.heads_outside ? (batch * c.heads + head) * places() + place
                           : (batch * places() + place) * c.heads + head;
  }

  float in(int which, int64_t batch, int64_t token, int64_t head, int64_t i) const {
    return projection.get(batch * c.tokens + token, (which * c.heads + head) * c.dim + i);
  }

  void point() {
    const int64_t width = c.heads * c.dim;
    args.struct_size = sizeof args;
    args.q = projection.at(0, 0);
    args.k = projection.at(0, width);
    args.v = c.with_v ? projection.at(0, 2 * width) : nullptr;
    args.q_weight = q_weight.data();
    args.k_weight = k_weight.data();
    args.rotation = reinterpret_cast<const float *>(rotation.data());
    args.q_out = q_out.at(row(0, 0, 0), 0);
    args.k_out = k_out.at(row(0, 0, 0), 0);
    args.v_out = c.with_v ? v_out.at(row(0, 0, 0), 0) : nullptr;
    args.batch = c.batch;
    args.tokens = c.tokens;
    args.heads = c.heads;
    args.dim = c.dim;
    args.in_token_stride = projection.stride;
    args.in_batch_stride = c.tokens * projection.stride;
    args.out_token_stride = (c.heads_outside ? 1 : c.heads) * q_out.stride;
    args.out_head_stride = (c.heads_outside ? places() : 1) * q_out.stride;
    args.out_batch_stride = places() * c.heads * q_out.stride;
    args.epsilon = 1e-6f;
    args.dtype = c.dtype;
    args.out_dtype = c.out_dtype;
    args.device = glance_test::device();
  }
};

glance_status run(Problem *p) {
  const glance_test::Mirror mirror(
      {&p->projection, &p->q_weight, &p->k_weight, &p->rotation, &p->q_out, &p->k_out, &p->v_out});
  glance_qk_norm_rope_args args = p->args;
  mirror.place(&args.q, &args.k, &args.v, &args.q_weight, &args.k_weight, &args.rotation,
               &args.q_out, &args.k_out, &args.v_out);
  return mirror.done(glance_qk_norm_rope(&args, nullptr));
}

// One head of q (0) or k (1).
void check_head(const Problem &p, int which, int64_t b, int64_t h, int64_t t) {
  const Buffer &weight = which == 0 ? p.q_weight : p.k_weight;
  const Buffer &out = which == 0 ? p.q_out : p.k_out;
  const int64_t dim = p.c.dim;
  double squares = 0;
  for (int64_t i = 0; i < dim; ++i) squares += std::pow(p.in(which, b, t, h, i), 2);
  const double inverse =
      1 / std::sqrt(squares / static_cast<double>(dim) + static_cast<double>(p.args.epsilon));
  const double roundings = static_cast<double>(dim) / 32 + 16;
  for (int64_t i = 0; i < dim; i += 2) {
    const double first = p.in(which, b, t, h, i) * inverse * weight.get(0, i);
    const double second = p.in(which, b, t, h, i + 1) * inverse * weight.get(0, i + 1);
    const double cos = p.rotation.get(t, i), sin = p.rotation.get(t, i + 1);
    const double want[] = {first * cos - second * sin, first * sin + second * cos};
    const double bound = std::ldexp(roundings * (std::fabs(first) + std::fabs(second)), -24);
    for (int64_t side = 0; side < 2; ++side) {
      ASSERT_NEAR(out.get(p.row(b, h, t), i + side), want[side],
                  bound + glance_test::narrowing_error(p.c.out_dtype, want[side]))
          << (which == 0 ? "q" : "k") << " batch " << b << " head " << h << " token " << t << " at "
          << i + side;
    }
  }
}

void check_v(const Problem &p, int64_t b, int64_t h, int64_t t) {
  for (int64_t i = 0; i < p.c.dim; ++i) {
    const float v = p.in(2, b, t, h, i);
    const float want = glance_test::rounded(p.c.out_dtype, v);
    ASSERT_EQ(p.v_out.get(p.row(b, h, t), i), want)
        << "v batch " << b << " head " << h << " token " << t << " at " << i;
  }
}

// Places of other tokens, and all of v's output if there is no v, are as they were made.
void check_others(const Problem &p, const Problem &fresh) {
  std::vector<bool> written(static_cast<size_t>(p.q_out.rows));
  for (int64_t b = 0; b < p.c.batch; ++b) {
    for (int64_t h = 0; h < p.c.heads; ++h) {
      for (int64_t t = 0; t < p.c.tokens; ++t) written[static_cast<size_t>(p.row(b, h, t))] = true;
    }
  }
  const auto bytes = static_cast<size_t>(p.c.dim * p.q_out.element_bytes());
  for (int64_t r = 0; r < p.q_out.rows; ++r) {
    if (written[static_cast<size_t>(r)]) continue;
    EXPECT_EQ(std::memcmp(p.q_out.at(r, 0), fresh.q_out.at(r, 0), bytes), 0) << "row " << r;
    EXPECT_EQ(std::memcmp(p.k_out.at(r, 0), fresh.k_out.at(r, 0), bytes), 0) << "row " << r;
    EXPECT_EQ(std::memcmp(p.v_out.at(r, 0), fresh.v_out.at(r, 0), bytes), 0) << "row " << r;
  }
  if (!p.c.with_v) {
    EXPECT_EQ(p.v_out.bytes, fresh.v_out.bytes);
  }
  EXPECT_TRUE(p.q_out.gaps_untouched() && p.k_out.gaps_untouched() && p.v_out.gaps_untouched());
  EXPECT_EQ(p.projection.bytes, fresh.projection.bytes);
}

void check_values(const Problem &p) {
  for (int64_t b = 0; b < p.c.batch; ++b) {
    for (int64_t h = 0; h < p.c.heads; ++h) {
      for (int64_t t = 0; t < p.c.tokens; ++t) {
        check_head(p, 0, b, h, t);
        check_head(p, 1, b, h, t);
        if (p.c.with_v) check_v(p, b, h, t);
      }
    }
  }
}

void check_case(const Case &c, unsigned seed) {
  SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed));
  Problem fresh(c, seed), baseline(c, seed);
  {
    const UseVariant least(variants().front());
    ASSERT_EQ(run(&baseline), GLANCE_OK) << glance_last_error();
  }
  for (const Variant &variant : variants()) {
    SCOPED_TRACE(glance_test::name(variant));
    const UseVariant use(variant);
    Problem p(c, seed);
    ASSERT_EQ(run(&p), GLANCE_OK) << glance_last_error();
    check_values(p);
    check_others(p, fresh);
    EXPECT_EQ(p.q_out.bytes, baseline.q_out.bytes) << "bits differ from the first's";
    EXPECT_EQ(p.k_out.bytes, baseline.k_out.bytes) << "bits differ from the first's";
    EXPECT_EQ(p.v_out.bytes, baseline.v_out.bytes) << "bits differ from the first's";
  }
}

TEST(QkNormRope, Values) {
  unsigned seed = glance_test::first_seed();
  const std::vector<glance_dtype> types = glance_test::dtypes();
  const int64_t sizes[][4] = {{1, 1, 1, 2},  {2, 3, 2, 6},  {1, 5, 3, 14}, {2, 2, 2, 16},
                              {1, 7, 6, 32}, {2, 3, 3, 34}, {1, 3, 5, 80}, {2, 5, 2, 128}};
  for (const auto &s : sizes) {
    for (glance_dtype dtype : types) {
      for (glance_dtype out_dtype : types) {
        for (int bits = 0; bits < 12; ++bits) {
          // The last is aligned to 16 bytes where dim allows it.
          const int64_t gaps[] = {0, 1, 8};
          check_case({s[0], s[1], s[2], s[3], gaps[bits / 4], dtype, out_dtype, (bits & 1) != 0,
                      (bits & 2) != 0},
                     seed++);
        }
      }
    }
  }
}

TEST(QkNormRope, SameBitsForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
  const unsigned seed = glance_test::first_seed();
  for (glance_dtype dtype : glance_test::dtypes()) {
    const Case c = {2, 101, 7, 66, 1, dtype, dtype, true, true};
    Problem alone(c, seed);
    {
      const UseThreads one(1);
      ASSERT_EQ(run(&alone), GLANCE_OK);
    }
    check_values(alone);
    for (int32_t threads : {2, 3}) {
      const UseThreads use(threads);
      Problem shared(c, seed);
      ASSERT_EQ(run(&shared), GLANCE_OK);
      EXPECT_EQ(shared.q_out.bytes, alone.q_out.bytes) << threads << " threads, seed " << seed;
      EXPECT_EQ(shared.k_out.bytes, alone.k_out.bytes) << threads << " threads, seed " << seed;
      EXPECT_EQ(shared.v_out.bytes, alone.v_out.bytes) << threads << " threads, seed " << seed;
    }
  }
}

TEST(QkNormRope, SpecialValuesStayInTheirHead) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const Case c = {1, 3, 2, 38, 0, GLANCE_F32, GLANCE_F32, true, true};
  for (const Variant &variant : variants()) {
    const UseVariant use(variant);
    Problem p(c, 5), clean(c, 5);
    p.projection.set(0, 37, nan);           // q, token 0, head 0
    p.projection.set(1, 2 * 38 + 38, inf);  // k, token 1, head 1
    ASSERT_EQ(run(&p), GLANCE_OK);
    ASSERT_EQ(run(&clean), GLANCE_OK);
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t t = 0; t < 3; ++t) {
        const int64_t row = p.row(0, h, t);
        for (int64_t i = 0; i < 38; ++i) {
          if (h == 0 && t == 0) {
            EXPECT_TRUE(std::isnan(p.q_out.get(row, i))) << i;
          } else {
            EXPECT_EQ(p.q_out.get(row, i), clean.q_out.get(row, i)) << h << "," << t << "," << i;
          }
          if (h == 1 && t == 1) {
            // Infinity times 1 / infinity; what is finite comes to 0.
            EXPECT_EQ(std::isnan(p.k_out.get(row, i)), i < 2) << i;
          } else {
            EXPECT_EQ(p.k_out.get(row, i), clean.k_out.get(row, i)) << h << "," << t << "," << i;
          }
        }
      }
    }
    EXPECT_EQ(p.v_out.bytes, clean.v_out.bytes);
  }
}

bool is_nan(uint16_t bits, glance_dtype dtype) {
  return (bits & 0x7FFF) > (dtype == GLANCE_BF16 ? 0x7F80 : 0x7C00);
}

// v is only converted: vectors and CUDA's instructions must round as math/bf16.h and math/f16.h do
// for any bits, denormals too; CUDA has one NaN only.
void check_rounding(glance_dtype out_dtype) {
  const unsigned seed = glance_test::first_seed();
  const Case c = {1, 100, 6, 38, 0, GLANCE_F32, out_dtype, true, true};
  std::vector<uint32_t> bits = {0x7F800000u, 0xFF800000u, 0x7F800001u, 0x7F808000u, 0xFFFFFFFFu,
                                0x7FC00000u, 0x00000001u, 0x80000001u, 0x00018000u, 0x007FFFFFu,
                                0x00800000u, 0x7F7FFFFFu, 0x3F808000u, 0x3F818000u, 0x3F808001u};
  std::mt19937 random(seed);
  while (bits.size() < 100 * 6 * 38) bits.push_back(static_cast<uint32_t>(random()));
  // A vector with denormals takes another path: also put some among normal values.
  for (size_t i = 1000; i < bits.size(); i += 50) bits[i] &= 0x807FFFFFu;
  for (const Variant &variant : variants()) {
    const UseVariant use(variant);
    Problem p(c, seed);
    for (int64_t t = 0; t < 100; ++t) {
      std::memcpy(p.projection.at(t, 2 * 6 * 38), bits.data() + t * 6 * 38, 6 * 38 * 4);
    }
    ASSERT_EQ(run(&p), GLANCE_OK);
    for (int64_t t = 0; t < 100; ++t) {
      for (int64_t i = 0; i < 6 * 38; ++i) {
        const uint32_t from = bits[static_cast<size_t>(t * 6 * 38 + i)];
        float value;
        uint16_t got;
        std::memcpy(&value, &from, sizeof value);
        std::memcpy(&got, p.v_out.at(p.row(0, i / 38, t), i % 38), sizeof got);
        const uint16_t want =
            out_dtype == GLANCE_BF16 ? glance::to_bf16(value).bits : glance::to_f16(value).bits;
        if (glance_test::on_cuda() && is_nan(want, out_dtype) && is_nan(got, out_dtype)) continue;
        ASSERT_EQ(got, want) << glance_test::name(variant) << " of bits " << from << " seed "
                             << seed;
      }
    }
  }
}

TEST(QkNormRope, RoundsEveryKindOfValueAsTheScalarCodeDoes) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    if (dtype != GLANCE_F32) check_rounding(dtype);
  }
}

void expect_refused(const char *argument, const std::function<void(Problem &)> &spoil) {
  const Case c = {2, 3, 2, 8, 1, GLANCE_BF16, GLANCE_F32, true, true};
  Problem p(c, 3), fresh(c, 3);
  spoil(p);
  EXPECT_TRUE(refused(run(&p), argument));
  EXPECT_EQ(p.q_out.bytes, fresh.q_out.bytes) << argument;
  EXPECT_EQ(p.k_out.bytes, fresh.k_out.bytes) << argument;
  EXPECT_EQ(p.v_out.bytes, fresh.v_out.bytes) << argument;
  EXPECT_EQ(p.projection.bytes, fresh.projection.bytes) << argument;
}

TEST(QkNormRope, RefusesNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(refused(glance_qk_norm_rope(nullptr, nullptr), "args"));
  expect_refused("struct_size", [](Problem &p) { p.args.struct_size -= 8; });
  expect_refused("batch", [](Problem &p) { p.args.batch = -1; });
  expect_refused("tokens", [](Problem &p) { p.args.tokens = -1; });
  expect_refused("heads", [](Problem &p) { p.args.heads = -1; });
  expect_refused("dim", [](Problem &p) { p.args.dim = -2; });
  expect_refused("dim", [](Problem &p) { p.args.dim = 7; });
  expect_refused("epsilon", [](Problem &p) { p.args.epsilon = -1.0f; });
  expect_refused("epsilon", [=](Problem &p) { p.args.epsilon = inf; });
  expect_refused("epsilon", [=](Problem &p) { p.args.epsilon = inf - inf; });
  expect_refused("dtype", [](Problem &p) { p.args.dtype = glance_test::wrong_dtype(); });
  expect_refused("out_dtype", [](Problem &p) { p.args.out_dtype = glance_test::wrong_dtype(); });
  expect_refused("device", [](Problem &p) { p.args.device = 2; });
  expect_refused("device_index", [](Problem &p) { p.args.device_index = -1; });
  expect_refused("reserved", [](Problem &p) { p.args.reserved = 1; });
}

TEST(QkNormRope, RefusesMemory) {
  const auto odd = [](const void *p) { return static_cast<const char *>(p) + 1; };
  const auto odd_out = [](void *p) { return static_cast<char *>(p) + 2; };
  expect_refused("q", [](Problem &p) { p.args.q = nullptr; });
  expect_refused("k", [](Problem &p) { p.args.k = nullptr; });
  expect_refused("v", [](Problem &p) { p.args.v = nullptr; });
  expect_refused("v_out", [](Problem &p) { p.args.v_out = nullptr; });
  expect_refused("q_weight", [](Problem &p) { p.args.q_weight = nullptr; });
  expect_refused("k_weight", [](Problem &p) { p.args.k_weight = nullptr; });
  expect_refused("rotation", [](Problem &p) { p.args.rotation = nullptr; });
  expect_refused("q_out", [](Problem &p) { p.args.q_out = nullptr; });
  expect_refused("k_out", [](Problem &p) { p.args.k_out = nullptr; });
  expect_refused("q", [=](Problem &p) { p.args.q = odd(p.args.q); });
  expect_refused("k", [=](Problem &p) { p.args.k = odd(p.args.k); });
  expect_refused("v", [=](Problem &p) { p.args.v = odd(p.args.v); });
  expect_refused("q_weight", [=](Problem &p) { p.args.q_weight = odd(p.args.q_weight); });
  expect_refused("k_weight", [=](Problem &p) { p.args.k_weight = odd(p.args.k_weight); });
  expect_refused("rotation", [=](Problem &p) {
    p.args.rotation = static_cast<const float *>(static_cast<const void *>(odd(p.args.rotation)));
  });
  expect_refused("q_out", [=](Problem &p) { p.args.q_out = odd_out(p.args.q_out); });
  expect_refused("k_out", [=](Problem &p) { p.args.k_out = odd_out(p.args.k_out); });
  expect_refused("v_out", [=](Problem &p) { p.args.v_out = odd_out(p.args.v_out); });
}

TEST(QkNormRope, RefusesStrides) {
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  expect_refused("in_token_stride", [](Problem &p) { p.args.in_token_stride = 15; });
  expect_refused("in_token_stride", [](Problem &p) { p.args.in_token_stride = -49; });
  expect_refused("in_batch_stride", [](Problem &p) { p.args.in_batch_stride = 113; });
  expect_refused("out_token_stride", [](Problem &p) { p.args.out_token_stride = 7; });
  expect_refused("out_head_stride", [](Problem &p) { p.args.out_head_stride = 9 * 2; });
  expect_refused("out_batch_stride", [](Problem &p) { p.args.out_batch_stride = 54; });
  expect_refused("in_batch_stride", [=](Problem &p) { p.args.in_batch_stride = huge * 2 + 1; });
  expect_refused("q", [=](Problem &p) { p.args.in_batch_stride = huge; });
  expect_refused("heads", [=](Problem &p) { p.args.heads = huge; });
}

TEST(QkNormRope, RefusesOverlap) {
  // All within the output's own memory, so that nothing else overlaps.
  expect_refused("q", [](Problem &p) { p.args.q = p.q_out.data(); });
  expect_refused("k", [](Problem &p) { p.args.k = p.v_out.data(); });
  expect_refused("v", [](Problem &p) { p.args.v = p.k_out.data(); });
  expect_refused("rotation", [](Problem &p) {
    p.args.rotation = reinterpret_cast<const float *>(p.v_out.at(3, 0));
  });
  expect_refused("q_out", [](Problem &p) { p.args.k_out = p.q_out.at(1, 0); });
  expect_refused("k_out", [](Problem &p) { p.args.v_out = p.k_out.at(1, 0); });
  expect_refused("q_weight", [](Problem &p) { p.args.q_weight = p.k_out.at(3, 0); });
  expect_refused("k_weight", [](Problem &p) { p.args.k_weight = p.v_out.at(3, 0); });
}

TEST(QkNormRope, StreamOnCpuIsRefused) {
  GLANCE_CPU_ONLY();
  Problem p({1, 2, 2, 8, 0, GLANCE_F32, GLANCE_F32, true, true}, 3);
  int not_a_stream = 0;
  EXPECT_TRUE(refused(glance_qk_norm_rope(&p.args, &not_a_stream), "stream"));
}

TEST(QkNormRope, NothingToDo) {
  Problem p({1, 2, 2, 8, 0, GLANCE_F32, GLANCE_F32, true, true}, 3);
  p.args.tokens = 0;
  p.args.q = p.args.k = nullptr;
  EXPECT_EQ(run(&p), GLANCE_OK);
}

}  // namespace
