// glance_lora_linear's values against a float64 oracle, on every instruction set of this machine or
// with every code for CUDA.
#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/lora_oracle.h"
#include "tests/lora_problem.h"

namespace {

using glance_test::LinearCase;
using glance_test::LoraCall;
using glance_test::LoraCase;
using glance_test::LoraOracle;
using glance_test::LoraTensors;

const std::vector<int64_t> kRanks = {1, 3, 4, 16, 17, 32, 64, 256};

void check_case(const LoraCase &c, unsigned seed) {
  const LoraTensors before(c, seed);
  const LoraOracle oracle(before);
  for (const glance_test::Variant &variant : glance_test::matmul_variants()) {
    SCOPED_TRACE(glance_test::name(variant) + " seed=" + std::to_string(seed) + " " + c.name());
    const glance_test::UseVariant use(variant);
    LoraTensors after(before);
    const LoraCall call(&after);
    ASSERT_EQ(call.run(), call.expected()) << glance_last_error();
    if (call.expected() == GLANCE_OK) {
      ASSERT_TRUE(glance_test::matches(oracle, after));
    }
    ASSERT_TRUE(glance_test::only_outputs_differ(before, after)) << "wrote what is no output";
  }
}

// The same case in all types.
void check_types(LoraCase c, unsigned seed) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    c.dtype = dtype;
    check_case(c, seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

int64_t pick(std::mt19937 &random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

template <typename T>
T pick(std::mt19937 &random, const std::vector<T> &from) {
  return from[static_cast<size_t>(pick(random, 0, static_cast<int64_t>(from.size()) - 1))];
}

// Cut anywhere, so that some are empty; some without an adapter.
std::vector<glance_segment> random_segments(std::mt19937 &random, int64_t rows, int32_t adapters) {
  std::vector<int64_t> cuts = {0, rows};
  for (int64_t i = pick(random, 0, 5); i > 0; --i) cuts.push_back(pick(random, 0, rows));
  std::sort(cuts.begin(), cuts.end());
  std::vector<glance_segment> segments;
  for (size_t i = 1; i < cuts.size(); ++i) {
    const int32_t adapter = static_cast<int32_t>(pick(random, -1, adapters - 1));
    segments.push_back({cuts[i - 1], cuts[i], adapter, 0});
  }
  return segments;
}

LinearCase random_linear(std::mt19937 &random, int64_t n, int64_t rows, int32_t adapters) {
  LinearCase l;
  l.n = n;
  l.bias = pick(random, 0, 1) == 1;
  l.epilogue = static_cast<glance_epilogue>(pick(random, 0, 2));
  l.rows_per_gate = pick(random, std::vector<int64_t>{1, 3, rows});
  if (l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) l.in_place = pick(random, 0, 1) == 1;
  for (int32_t a = 0; a < adapters; ++a) {
    l.ranks.push_back(pick(random, std::vector<int64_t>{0, 1, 3, 4, 16, 17, 32, 33}));
  }
  return l;
}

void random_layout(std::mt19937 &random, LoraCase *c) {
  c->gap = pick(random, std::vector<int64_t>{0, 0, 1, 5});
  c->offset = pick(random, std::vector<int64_t>{0, 1, 3});
  c->aligned = pick(random, 0, 1) == 1;
  c->adapters = static_cast<int32_t>(pick(random, std::vector<int64_t>{0, 1, 1, 2, 3, 8}));
  if (c->adapters > 0) c->segments = random_segments(random, c->rows, c->adapters);
  c->shared_down = pick(random, 0, 1) == 1;
  c->spare = pick(random, std::vector<int64_t>{0, 0, 2});
  c->given_h = c->adapters > 0 && pick(random, 0, 3) == 0;
  c->joined_y = pick(random, 0, 1) == 1;
}

// Every size around the register tiles, with everything else at random.
void check_sizes(glance_dtype dtype) {
  unsigned seed = glance_test::first_seed();
  for (int64_t rows = 1; rows <= 33; ++rows) {
    for (const int64_t n : {1, 15, 16, 17, 31, 32, 33, 47, 64, 100}) {
      for (const int64_t k : {1, 2, 3, 7, 16, 31, 64, 192, 769}) {
        if (++seed % glance_test::sweep_step(4, 60) != 0) continue;
        std::mt19937 random(seed);
        LoraCase c;
        c.dtype = dtype;
        c.rows = rows;
        c.k = k;
        random_layout(random, &c);
        c.linears = {random_linear(random, n, rows, c.adapters)};
        check_case(c, seed);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(LoraLinear, SizesF32) { check_sizes(GLANCE_F32); }

TEST(LoraLinear, SizesBf16) { check_sizes(GLANCE_BF16); }

TEST(LoraLinear, SizesF16) {
  if (glance_test::on_cuda()) check_sizes(GLANCE_F16);
}

// Around the borders of CUDA's tiles, of 128 rows, 256 columns and 64 of K, in layouts that its
// fastest paths take and in others.
TEST(LoraLinear, TileBorders) {
  unsigned seed = glance_test::first_seed();
  for (const int64_t rows : {1, 127, 128, 129, 300}) {
    for (const int64_t n : {8, 255, 256, 257, 520}) {
      for (const int64_t k : {8, 63, 64, 65, 200}) {
        for (const bool aligned : {false, true}) {
          if (++seed % glance_test::sweep_step(1, 10) != 0) continue;
          std::mt19937 random(seed);
          LoraCase c;
          c.dtype = pick(random, glance_test::dtypes());
          c.rows = rows;
          c.k = k;
          random_layout(random, &c);
          c.aligned = aligned;
          c.linears = {random_linear(random, n, rows, c.adapters)};
          check_case(c, seed);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Sizes that need several blocks of every loop, and several threads.
TEST(LoraLinear, LargeSizes) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][3] = {{105, 576, 192}, {257, 131, 521}, {3, 1031, 3083}, {67, 67, 5003}};
  for (const auto &size : sizes) {
    if (++seed % glance_test::sweep_step(1, 4) != 0) continue;
    std::mt19937 random(seed);
    LoraCase c;
    c.rows = size[0];
    c.k = size[2];
    c.adapters = 2;
    const int64_t half = c.rows / 2;
    c.segments = std::vector<glance_segment>{{0, half, 0, 0}, {half, c.rows, 1, 0}};
    c.linears = {random_linear(random, size[1], c.rows, 0)};
    c.linears[0].ranks = {16, 256};
    for (const bool aligned : {false, true}) {
      c.aligned = aligned;
      check_types(c, seed);
      if (HasFatalFailure()) return;
    }
  }
}

// Every stage of a ring of buffers in shared memory is used several times, over several tiles.
TEST(LoraLinear, ManyStepsOverK) {
  for (const int64_t n : {525, 526, 527}) {  // each of the wgmma matmul's tiles
    LoraCase c;
    c.rows = 300;
    c.k = 13 * 64 + 8;
    c.aligned = true;
    c.adapters = 1;
    c.segments = std::vector<glance_segment>{{0, 300, 0, 0}};
    c.linears = {{n, true, GLANCE_EPILOGUE_NONE, 1, false, {16}}};
    c.dtype = GLANCE_BF16;
    check_case(c, glance_test::first_seed());
    if (HasFatalFailure()) return;
  }
}

// On CUDA a new thread has no context yet.
TEST(LoraLinear, FirstCallOfAThread) {
  std::thread([] {
    LoraCase c;
    c.rows = 130;
    c.k = 64;
    c.aligned = true;
    c.linears = {{129, false, GLANCE_EPILOGUE_NONE, 1, false, {}}};
    c.dtype = GLANCE_BF16;
    check_case(c, glance_test::first_seed());
  }).join();
}

TEST(LoraLinear, EveryRankAlone) {
  unsigned seed = glance_test::first_seed();
  for (const int64_t rank : kRanks) {
    LoraCase c;
    c.rows = 21;
    c.k = 70;
    c.gap = 1;
    c.offset = 1;
    c.adapters = 1;
    c.segments = std::vector<glance_segment>{{0, 21, 0, 0}};
    c.linears = {{37, true, GLANCE_EPILOGUE_NONE, 1, false, {rank}}};
    for (const bool aligned : {false, true}) {
      c.aligned = aligned;
      check_types(c, ++seed);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(LoraLinear, EightAdaptersOfDifferentRank) {
  unsigned seed = glance_test::first_seed();
  for (const bool shared : {false, true}) {
    LoraCase c;
    c.rows = 33;
    c.k = 50;
    c.adapters = 8;
    c.shared_down = shared;
    for (int32_t a = 0; a < 8; ++a) c.segments.push_back({4 * a, 4 * a + (a == 7 ? 5 : 4), a, 0});
    c.linears = {{40, false, GLANCE_EPILOGUE_NONE, 1, false, kRanks},
                 {17, true, GLANCE_EPILOGUE_GELU_TANH, 1, false, {4, 0, 256, 1, 3, 64, 0, 17}}};
    for (const bool aligned : {false, true}) {
      c.aligned = aligned;
      check_types(c, ++seed);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(LoraLinear, SegmentTables) {
  std::vector<std::vector<glance_segment>> tables = {
      {{0, 29, 1, 0}},
      {{0, 29, -1, 0}},
      {{0, 0, 0, 0}, {0, 13, 0, 0}, {13, 13, 1, 0}, {13, 13, -1, 0}, {13, 29, 1, 0}},
      {{0, 29, 0, 0}, {29, 29, 1, 0}, {29, 29, -1, 0}},
      {{0, 1, 0, 0}, {1, 28, -1, 0}, {28, 29, 1, 0}},
      {{0, 5, 0, 0}, {5, 11, -1, 0}, {11, 12, 1, 0}, {12, 20, -1, 0}, {20, 29, 0, 0}}};
  std::vector<glance_segment> single_rows;
  for (int32_t i = 0; i < 29; ++i) single_rows.push_back({i, i + 1, i % 3 - 1, 0});
  tables.push_back(single_rows);
  unsigned seed = glance_test::first_seed();
  for (const auto &table : tables) {
    for (const bool given_h : {false, true}) {
      LoraCase c;
      c.rows = 29;
      c.k = 33;
      c.adapters = 2;
      c.segments = table;
      c.given_h = given_h;
      c.aligned = !given_h;
      c.linears = {{35, true, GLANCE_EPILOGUE_NONE, 1, false, {16, 3}}};
      check_types(c, ++seed);
      if (HasFatalFailure()) return;
    }
  }
}

// Borders that lie within tiles of 128 rows, tiles of one row, and one of exactly 128.
TEST(LoraLinear, SegmentsAcrossTiles) {
  unsigned seed = glance_test::first_seed();
  for (const bool aligned : {false, true}) {
    LoraCase c;
    c.rows = 421;
    c.k = 72;
    c.aligned = aligned;
    c.adapters = 3;
    c.segments = std::vector<glance_segment>{{0, 100, 0, 0},    {100, 101, 2, 0}, {101, 229, 1, 0},
                                             {229, 240, -1, 0}, {240, 400, 2, 0}, {400, 421, 0, 0}};
    c.linears = {{264, true, GLANCE_EPILOGUE_GATED_RESIDUAL, 200, true, {16, 33, 64}},
                 {40, false, GLANCE_EPILOGUE_GELU_TANH, 1, false, {0, 16, 8}}};
    check_types(c, ++seed);
    if (HasFatalFailure()) return;
  }
}

// More than one launch of CUDA's takes.
TEST(LoraLinear, ManySegments) {
  unsigned seed = glance_test::first_seed();
  for (const int32_t count : {256, 257, 600}) {
    if (glance_test::emulated() && count != 257) continue;
    LoraCase c;
    c.rows = count;
    c.k = 16;
    c.aligned = true;
    c.adapters = 2;
    for (int32_t i = 0; i < count; ++i) c.segments.push_back({i, i + 1, i % 3 - 1, 0});
    c.linears = {{24, true, GLANCE_EPILOGUE_NONE, 1, false, {4, 16}}};
    if (glance_test::emulated()) {
      c.dtype = GLANCE_BF16;
      check_case(c, ++seed);
    } else {
      check_types(c, ++seed);
    }
    if (HasFatalFailure()) return;
  }
}

TEST(LoraLinear, GroupsOfLinears) {
  unsigned seed = glance_test::first_seed();
  const std::vector<int64_t> widths = {48, 1, 33, 64, 17, 100, 16, 31};
  for (size_t count = 1; count <= GLANCE_MAX_LINEARS; ++count) {
    for (const bool shared : {false, true}) {
      for (const bool joined : {false, true}) {
        LoraCase c;
        c.rows = 19;
        c.k = 47;
        c.gap = 2;
        c.offset = 1;
        c.adapters = 2;
        c.segments = std::vector<glance_segment>{{0, 7, 0, 0}, {7, 19, 1, 0}};
        c.shared_down = shared;
        c.joined_y = joined;
        c.aligned = shared != joined;
        for (size_t g = 0; g < count; ++g) {
          // The second adapter leaves every third linear alone.
          c.linears.push_back(
              {widths[g], g % 2 == 0, GLANCE_EPILOGUE_NONE, 1, false, {16, g % 3 == 0 ? 0 : 16}});
        }
        check_types(c, ++seed);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(LoraLinear, LargestGroupOfLargestRank) {
  LoraCase c;
  c.rows = 5;
  c.k = 40;
  c.adapters = 1;
  c.segments = std::vector<glance_segment>{{0, 5, 0, 0}};
  for (int g = 0; g < GLANCE_MAX_LINEARS; ++g) {
    c.linears.push_back({20, false, GLANCE_EPILOGUE_NONE, 1, false, {GLANCE_MAX_RANK}});
  }
  check_types(c, glance_test::first_seed());
}

TEST(LoraLinear, Epilogues) {
  unsigned seed = glance_test::first_seed();
  const int64_t rows = 23;
  for (glance_epilogue epilogue = GLANCE_EPILOGUE_NONE; epilogue <= GLANCE_EPILOGUE_GATED_RESIDUAL;
       ++epilogue) {
    for (const bool bias : {false, true}) {
      for (const int64_t rows_per_gate : {int64_t{1}, int64_t{3}, rows, 10 * rows}) {
        for (const bool in_place : {false, true}) {
          const bool gated = epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
          if (!gated && (in_place || rows_per_gate != 1)) continue;
          LoraCase c;
          c.rows = rows;
          c.k = 29;
          c.gap = 3;
          c.offset = 1;
          c.adapters = 1;
          c.segments = std::vector<glance_segment>{{0, 9, 0, 0}, {9, rows, -1, 0}};
          c.aligned = bias;
          c.linears = {{50, bias, epilogue, rows_per_gate, in_place, {4}}};
          check_types(c, ++seed);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// A sum of this size saturates GELU on either side.
TEST(LoraLinear, GeluOfLargeSums) {
  for (const glance_test::Variant &variant : glance_test::variants()) {
    const glance_test::UseVariant use(variant);
    for (const float size : {5.0f, 12.0f, 1e3f, 1e10f, 1e20f}) {
      LoraCase c;
      c.rows = 2;
      c.linears = {{20, false, GLANCE_EPILOGUE_GELU_TANH, 1, false, {}}};
      LoraTensors t(c, 1);
      t.x.set(0, 0, size);
      t.x.set(1, 0, -size);
      t.weight[0].fill(1.0f);
      const LoraCall call(&t);
      ASSERT_EQ(call.run(), GLANCE_OK) << glance_last_error();
      for (int64_t n = 0; n < 20; ++n) {
        EXPECT_NEAR(t.y[0].get(0, n), size, 2e-6 * size) << glance_test::name(variant);
        EXPECT_NEAR(t.y[0].get(1, n), 0.0f, 2e-6) << glance_test::name(variant) << " -" << size;
      }
    }
  }
}

TEST(LoraLinear, RandomShapes) {
  unsigned seed = glance_test::first_seed() + 100000;
  for (unsigned i = 0; i < 400; i += glance_test::sweep_step(1, 25)) {
    std::mt19937 random(++seed);
    LoraCase c;
    c.dtype = pick(random, glance_test::dtypes());
    c.rows = pick(random, 1, 70);
    c.k = pick(random, 1, 300);
    random_layout(random, &c);
    for (int64_t g = pick(random, 1, GLANCE_MAX_LINEARS); g > 0; --g) {
      c.linears.push_back(random_linear(random, pick(random, 1, 130), c.rows, c.adapters));
    }
    check_case(c, seed);
    if (HasFatalFailure()) return;
  }
}

TEST(LoraLinear, NoRowsAreNoError) {
  LoraCase c;
  c.linears = {{8, true, GLANCE_EPILOGUE_NONE, 1, false, {}}};
  LoraTensors t(c, 1);
  const LoraTensors before(t);
  LoraCall call(&t);
  call.args.rows = 0;
  call.args.x = nullptr;
  EXPECT_EQ(call.run(), GLANCE_OK) << glance_last_error();
  EXPECT_TRUE(t.y[0].bytes == before.y[0].bytes);
  call.linears[0].y = nullptr;
  call.linears[0].bias = nullptr;
  EXPECT_EQ(call.run(), GLANCE_OK) << glance_last_error();
}

}  // namespace
