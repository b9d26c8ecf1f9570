// glance_attention against a float64 oracle, for every instruction set of this machine: sizes
// around the tiles, both layouts, gaps, odd addresses, scores of any size, and distances of 0.
#include <glance/attention.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/attention_oracle.h"
#include "tests/attention_problem.h"
#include "tests/variants.h"

namespace {

using glance_test::AttentionCase;
using glance_test::AttentionProblem;
using glance_test::Layout;
using glance_test::Scores;

// Runs on every instruction set; nothing but out is written.
void check_problem(const AttentionProblem &before, Scores kind = Scores::rounded) {
  const auto want = glance_test::attention_oracle(before, kind);
  for (const glance::Isa isa : glance_test::isas()) {
    SCOPED_TRACE(glance_test::name(isa));
    const glance_test::UseIsa use(isa);
    const AttentionProblem after = glance_test::attended(before);
    ASSERT_TRUE(glance_test::attention_right(after, want));
    ASSERT_TRUE(after.out.buffer.gaps_untouched()) << "wrote a gap";
    ASSERT_TRUE(after.q.buffer.bytes == before.q.buffer.bytes &&
                after.k.buffer.bytes == before.k.buffer.bytes &&
                after.v.buffer.bytes == before.v.buffer.bytes)
        << "wrote an input";
  }
}

void check_case(const AttentionCase &c, unsigned seed) {
  SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed));
  check_problem(AttentionProblem(c, seed));
}

// Sizes and type as they are; everything else by chance.
AttentionCase some_case(int64_t queries, int64_t keys, int64_t dim, glance_dtype dtype,
                        unsigned seed) {
  std::mt19937 random(seed);
  const auto chance = [&](unsigned of) { return static_cast<int64_t>(random() % of); };
  AttentionCase c;
  c.batch = 1 + chance(2);
  c.heads = 1 + chance(3);
  c.queries = queries;
  c.keys = keys;
  c.dim = dim;
  c.gap = chance(2) * (1 + chance(5));
  c.offset = chance(4);
  c.dtype = dtype;
  c.out_dtype = chance(2) == 0 ? GLANCE_F32 : GLANCE_BF16;
  c.in = chance(2) == 0 ? Layout::heads_outside : Layout::tokens_outside;
  c.out = chance(2) == 0 ? Layout::heads_outside : Layout::tokens_outside;
  c.scale = 1.0f / std::sqrt(static_cast<float>(dim));
  return c;
}

TEST(Attention, SizesAroundTheTiles) {
  unsigned seed = glance_test::first_seed();
  for (int64_t queries = 1; queries <= 33; ++queries) {
    for (const int64_t keys : {1, 2, 7, 31, 32, 33, 65, 257}) {
      for (const int64_t dim : {1, 3, 8, 31, 32, 33, 64, 65, 128}) {
        for (const glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
          if (++seed % glance_test::kSweepStep != 0) continue;
          check_case(some_case(queries, keys, dim, dtype, seed), seed);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Attention, EveryTypeAndLayout) {
  unsigned seed = glance_test::first_seed();
  for (const glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
    for (const glance_dtype out_dtype : {GLANCE_F32, GLANCE_BF16}) {
      for (const Layout in : {Layout::heads_outside, Layout::tokens_outside}) {
        for (const Layout out : {Layout::heads_outside, Layout::tokens_outside}) {
          for (const int64_t offset : {0, 1}) {
            AttentionCase c = some_case(13, 101, 37, dtype, ++seed);
            c.batch = 2;
            c.heads = 3;
            c.gap = 3 * offset;
            c.offset = offset;
            c.out_dtype = out_dtype;
            c.in = in;
            c.out = out;
            check_case(c, seed);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// Their packed keys and values take more than the 16 MB that are packed at a time.
TEST(Attention, MoreHeadsThanTheCacheHolds) {
  const unsigned seed = glance_test::first_seed();
  for (const glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
    AttentionCase c = some_case(2, 511, 64, dtype, seed);
    c.batch = 3;
    c.heads = dtype == GLANCE_F32 ? 43 : 86;
    check_case(c, seed);
    if (HasFatalFailure()) return;
  }
}

TEST(Attention, NegativeAndZeroScale) {
  unsigned seed = glance_test::first_seed();
  for (const float scale : {0.0f, -0.0f, -0.25f, 0.7f}) {
    for (const glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
      AttentionCase c = some_case(9, 70, 16, dtype, ++seed);
      c.scale = scale;
      check_case(c, seed);
      if (HasFatalFailure()) return;
    }
  }
}

// Scores of tens of thousands, whose exponentials alone would overflow. q and k are small whole
// numbers, so that the scores and their differences are exact.
TEST(Attention, LargeScores) {
  unsigned seed = glance_test::first_seed();
  for (const float scale : {16.0f, -16.0f, 0.5f}) {
    for (const glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
      AttentionCase c = some_case(15, 67, 33, dtype, ++seed);
      SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed));
      c.scale = scale;
      AttentionProblem p(c, seed);
      std::mt19937 random(seed);
      for (glance_test::Buffer *b : {&p.q.buffer, &p.k.buffer}) {
        for (int64_t r = 0; r < b->rows; ++r) {
          for (int64_t i = 0; i < b->columns; ++i) {
            b->set(r, i, static_cast<float>(random() % 17) - 8);
          }
        }
      }
      check_problem(p, Scores::exact);
      if (HasFatalFailure()) return;
    }
  }
}

// Their difference is beyond f32.
TEST(Attention, ScoresOfTheLargestSize) {
  glance_test::for_each_variant([](glance_dtype dtype) {
    AttentionCase c;
    c.queries = 3;
    c.keys = 35;
    c.dtype = dtype;
    AttentionProblem p(c, glance_test::first_seed());
    p.q.buffer.fill(1.5e19f);
    p.k.buffer.fill(-1.5e19f);
    p.k.set(0, 0, 20, 0, 1.5e19f);
    const AttentionProblem after = glance_test::attended(p);
    for (int64_t t = 0; t < 3; ++t) ASSERT_EQ(after.out.get(0, 0, t, 0), p.v.get(0, 0, 20, 0));
  });
}

// Heads and batch entries that share one k and v, and queries that are all the same row.
TEST(Attention, DistancesOfZero) {
  glance_test::for_each_variant([](glance_dtype dtype) {
    AttentionCase c = some_case(17, 45, 19, dtype, 0);
    c.batch = 2;
    c.heads = 3;
    AttentionProblem shared(c, glance_test::first_seed());
    AttentionProblem copied(shared);
    for (int64_t b = 0; b < c.batch; ++b) {
      for (int64_t h = 0; h < c.heads; ++h) {
        for (int64_t i = 0; i < c.dim; ++i) {
          for (int64_t t = 0; t < c.keys; ++t) {
            copied.k.set(b, h, t, i, shared.k.get(0, 0, t, i));
            copied.v.set(b, h, t, i, shared.v.get(0, 0, t, i));
          }
          for (int64_t t = 0; t < c.queries; ++t) {
            copied.q.set(b, h, t, i, shared.q.get(b, h, 0, i));
          }
        }
      }
    }
    shared.args.kv_batch_stride = shared.args.kv_head_stride = 0;
    shared.args.q_token_stride = 0;
    ASSERT_EQ(shared.run(), GLANCE_OK) << glance_last_error();
    ASSERT_EQ(copied.run(), GLANCE_OK) << glance_last_error();
    ASSERT_TRUE(shared.out.buffer.bytes == copied.out.buffer.bytes);
    // One key is every key: its value is the mean.
    shared.args.kv_token_stride = 0;
    ASSERT_EQ(shared.run(), GLANCE_OK) << glance_last_error();
    for (int64_t i = 0; i < c.dim; ++i) {
      const float value = shared.v.get(0, 0, 0, i);
      const float tolerance = c.out_dtype == GLANCE_F32 && dtype == GLANCE_F32 ? 1e-5f : 1e-2f;
      ASSERT_NEAR(shared.out.get(1, 2, 16, i), value, tolerance * std::fabs(value));
    }
  });
}

}  // namespace
