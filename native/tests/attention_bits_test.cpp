// What glance_attention promises beyond its values: the same bits for any number of threads and any
// other queries, and NaN and infinity that stay where they belong.
#include <glance/attention.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

#include "tests/attention_problem.h"
#include "tests/variants.h"

namespace {

using glance_test::attended;
using glance_test::AttentionCase;
using glance_test::AttentionProblem;
using glance_test::for_each_variant;
using glance_test::Layout;

// Large enough for several threads; no size is a multiple of a tile's.
AttentionCase mixed(glance_dtype dtype) {
  AttentionCase c;
  c.batch = 2;
  c.heads = 3;
  c.queries = 97;
  c.keys = 131;
  c.dim = 35;
  c.gap = c.offset = 1;
  c.dtype = c.out_dtype = dtype;
  c.in = Layout::tokens_outside;
  c.scale = 0.3f;
  return c;
}

TEST(AttentionBits, SameForAnyNumberOfThreads) {
  for_each_variant([](glance_dtype dtype) {
    // Many queries and few heads, and the other way round.
    AttentionCase tall = mixed(dtype);
    tall.batch = tall.heads = 1;
    tall.queries = 700;
    AttentionCase flat = mixed(dtype);
    flat.heads = 40;
    flat.queries = 1;
    for (const AttentionCase &c : {mixed(dtype), tall, flat}) {
      const AttentionProblem before(c, glance_test::first_seed());
      const auto with_threads = [&](int32_t threads) {
        const glance_test::UseThreads use(threads);
        return attended(before).out.buffer.bytes;
      };
      const auto one = with_threads(1);
      for (const int32_t threads : {2, 3}) {
        ASSERT_TRUE(with_threads(threads) == one) << threads << " threads, " << c.name();
      }
    }
  });
}

TEST(AttentionBits, SameForAQueryAloneAndAmongOthers) {
  for_each_variant([](glance_dtype dtype) {
    const AttentionProblem before(mixed(dtype), glance_test::first_seed());
    const AttentionProblem whole = attended(before);
    for (const int64_t chunk : {1, 5, 14, 48}) {
      AttentionProblem parts(before);
      for (int64_t begin = 0; begin < before.c.queries; begin += chunk) {
        glance_attention_args args = parts.args;
        args.queries = std::min(chunk, before.c.queries - begin);
        args.q = parts.q.buffer.at(parts.q.row(0, 0, begin), 0);
        args.out = parts.out.buffer.at(parts.out.row(0, 0, begin), 0);
        ASSERT_EQ(glance_attention(&args, nullptr), GLANCE_OK) << glance_last_error();
      }
      ASSERT_TRUE(parts.out.buffer.bytes == whole.out.buffer.bytes)
          << "in calls of " << chunk << " queries";
    }
  });
}

TEST(AttentionBits, SameInConcurrentCalls) {
  for_each_variant([](glance_dtype dtype) {
    const AttentionProblem before(mixed(dtype), glance_test::first_seed());
    const auto right = attended(before).out.buffer.bytes;
    const auto repeat = [&](std::vector<unsigned char> *out) {
      for (int i = 0; i < 3; ++i) *out = attended(before).out.buffer.bytes;
    };
    std::vector<unsigned char> outs[3];
    std::thread other(repeat, &outs[1]), another(repeat, &outs[2]);
    repeat(&outs[0]);
    other.join();
    another.join();
    for (const auto &out : outs) ASSERT_TRUE(out == right);
  });
}

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

// Where an element of out is.
struct Place {
  int64_t b, h, t, i;
};

// What spoil did makes the reached elements NaN, or what else is asked, and changes no others.
void check_spread(
    glance_dtype dtype, const std::function<void(AttentionProblem &)> &spoil,
    const std::function<bool(const Place &)> &reached,
    const std::function<bool(float)> &asked = [](float x) { return x != x; }) {
  const AttentionProblem clean(mixed(dtype), glance_test::first_seed());
  AttentionProblem spoiled(clean);
  spoil(spoiled);
  const AttentionProblem right = attended(clean);
  const AttentionProblem got = attended(spoiled);
  const AttentionCase &c = clean.c;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t t = 0; t < c.queries; ++t) {
        for (int64_t i = 0; i < c.dim; ++i) {
          const float value = got.out.get(b, h, t, i);
          const bool good =
              reached({b, h, t, i}) ? asked(value) : value == right.out.get(b, h, t, i);
          ASSERT_TRUE(good) << "batch " << b << " head " << h << " query " << t << " at " << i
                            << ": " << value;
        }
      }
    }
  }
  ASSERT_TRUE(got.out.buffer.gaps_untouched());
}

TEST(AttentionBits, NonFiniteQueryStaysInItsRow) {
  for_each_variant([](glance_dtype dtype) {
    for (const float bad : {kNan, kInfinity}) {
      for (const int64_t query : {0, 13, 96}) {
        check_spread(
            dtype, [&](AttentionProblem &p) { p.q.set(1, 2, query, 34, bad); },
            [&](const Place &at) { return at.b == 1 && at.h == 2 && at.t == query; });
      }
    }
  });
}

TEST(AttentionBits, NanInAKeyStaysInItsHead) {
  for_each_variant([](glance_dtype dtype) {
    for (const int64_t key : {0, 31, 130}) {
      check_spread(
          dtype, [&](AttentionProblem &p) { p.k.set(0, 1, key, 34, kNan); },
          [](const Place &at) { return at.b == 0 && at.h == 1; });
    }
  });
}

TEST(AttentionBits, NonFiniteValueStaysInItsChannel) {
  for_each_variant([](glance_dtype dtype) {
    for (const int64_t key : {0, 130}) {
      const auto reached = [](const Place &at) { return at.b == 1 && at.h == 0 && at.i == 33; };
      check_spread(dtype, [&](AttentionProblem &p) { p.v.set(1, 0, key, 33, kNan); }, reached);
      check_spread(
          dtype, [&](AttentionProblem &p) { p.v.set(1, 0, key, 33, kInfinity); }, reached,
          [](float x) { return x == kInfinity; });
    }
  });
}

// A key that scores minus infinity with every query counts for nothing, nearly: e^-87.
TEST(AttentionBits, ScoresOfMinusInfinityAreMasked) {
  for_each_variant([](glance_dtype dtype) {
    AttentionCase c = mixed(dtype);
    c.dim = 1;
    AttentionProblem p(c, glance_test::first_seed());
    p.q.buffer.fill(1.0f);
    const AttentionProblem clean(p);
    AttentionProblem fewer(p);
    fewer.args.keys = 130;
    for (int64_t b = 0; b < c.batch; ++b) {
      for (int64_t h = 0; h < c.heads; ++h) p.k.set(b, h, 130, 0, -kInfinity);
    }
    ASSERT_EQ(fewer.run(), GLANCE_OK) << glance_last_error();
    const AttentionProblem masked = attended(p);
    for (int64_t b = 0; b < c.batch; ++b) {
      for (int64_t h = 0; h < c.heads; ++h) {
        for (int64_t t = 0; t < c.queries; ++t) {
          ASSERT_EQ(masked.out.get(b, h, t, 0), fewer.out.get(b, h, t, 0));
        }
      }
    }
  });
}

}  // namespace
