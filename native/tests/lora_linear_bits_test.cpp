// What glance_lora_linear promises beyond its values: the same bits for any number of threads and
// any other rows, NaN and infinity that stay where they belong, and an h that may be given.
#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/lora_problem.h"
#include "tests/variants.h"

namespace {

using glance_test::LoraCall;
using glance_test::LoraCase;
using glance_test::LoraTensors;

// Several linears, epilogues and adapters, large enough for several threads.
LoraCase mixed(glance_dtype dtype) {
  LoraCase c;
  c.dtype = dtype;
  c.rows = 97;
  c.k = 203;
  c.gap = 1;
  c.offset = 1;
  c.adapters = 2;
  c.segments = {{0, 31, 0, 0}, {31, 32, -1, 0}, {32, 60, 1, 0}, {60, 97, 0, 0}};
  c.linears = {{300, true, GLANCE_EPILOGUE_NONE, 1, false, {16, 33}},
               {65, false, GLANCE_EPILOGUE_GELU_TANH, 1, false, {0, 5}},
               {130, true, GLANCE_EPILOGUE_GATED_RESIDUAL, 3, false, {17, 0}}};
  return c;
}

// As above, of multiples of 16 bytes where some CUDA code asks for that.
LoraCase mixed_for_matmul(glance_dtype dtype) {
  LoraCase c = mixed(dtype);
  c.aligned = glance_test::current_matmul() == GLANCE_MATMUL_WGMMA;
  return c;
}

LoraTensors result_of(const LoraTensors &before) {
  LoraTensors after(before);
  EXPECT_EQ(LoraCall(&after).run(), GLANCE_OK) << glance_last_error();
  return after;
}

// For every type and code that multiplies; of those, what wgmma does not do is left out.
template <typename Check>
void for_each_matmul(const Check &check) {
  glance_test::for_each_variant(glance_test::matmul_variants(), [&](glance_dtype dtype) {
    if (glance_test::current_matmul() == GLANCE_MATMUL_WGMMA && dtype == GLANCE_F32) return;
    check(dtype);
  });
}

// The first place where the two differ in an output, of those that a caller asks about.
testing::AssertionResult same_y(const LoraTensors &a, const LoraTensors &b,
                                const std::function<bool(size_t, int64_t, int64_t)> &asked) {
  for (size_t g = 0; g < a.c.linears.size(); ++g) {
    for (int64_t i = 0; i < a.c.rows; ++i) {
      for (int64_t n = 0; n < a.c.linears[g].n; ++n) {
        const float one = a.get_y(g, i, n);
        const float two = b.get_y(g, i, n);
        if (asked(g, i, n) && std::memcmp(&one, &two, sizeof one) != 0) {
          return testing::AssertionFailure()
                 << "linear " << g << " at " << i << "," << n << ": " << one << " and " << two;
        }
      }
    }
  }
  return testing::AssertionSuccess();
}

bool everywhere(size_t, int64_t, int64_t) { return true; }

TEST(LoraLinearBits, SameForAnyNumberOfThreads) {
  GLANCE_CPU_ONLY();
  for_each_matmul([](glance_dtype dtype) {
    // Many rows and few columns, and the other way round.
    LoraCase tall = mixed(dtype);
    tall.rows = 700;
    tall.segments.back().end = 700;
    LoraCase wide = mixed(dtype);
    wide.rows = 2;
    wide.segments = {{0, 1, 0, 0}, {1, 2, 1, 0}};
    wide.linears[0].n = 4001;
    for (const LoraCase &c : {mixed(dtype), tall, wide}) {
      const LoraTensors before(c, glance_test::first_seed());
      const auto with_threads = [&](int32_t threads) {
        const glance_test::UseThreads use(threads);
        return result_of(before);
      };
      const LoraTensors one = with_threads(1);
      for (const int32_t threads : {2, 3}) {
        ASSERT_TRUE(same_y(one, with_threads(threads), everywhere)) << threads << " threads";
      }
    }
  });
}

TEST(LoraLinearBits, SameForARowAloneAndAmongOthers) {
  for_each_matmul([](glance_dtype dtype) {
    for (const bool given_h : {false, true}) {
      if (glance_test::emulated() && given_h) continue;
      LoraCase c = mixed_for_matmul(dtype);
      c.given_h = given_h;
      const LoraTensors before(c, glance_test::first_seed());
      const LoraTensors whole = result_of(before);
      for (const int64_t chunk : {1, 6, 15, 48}) {
        if (glance_test::emulated() && chunk < 15) continue;
        LoraTensors parts(before);
        LoraCall call(&parts);
        for (int64_t begin = 0; begin < c.rows; begin += chunk) {
          ASSERT_EQ(call.run_rows(begin, std::min(c.rows, begin + chunk)), GLANCE_OK)
              << glance_last_error();
        }
        ASSERT_TRUE(same_y(whole, parts, everywhere)) << "in calls of " << chunk << " rows";
      }
    }
  });
}

// Threads of the caller that share the matrices.
TEST(LoraLinearBits, SameInConcurrentCalls) {
  if (glance_test::emulated()) GTEST_SKIP() << "the emulator runs one kernel at a time";
  for_each_matmul([](glance_dtype dtype) {
    LoraTensors first(mixed_for_matmul(dtype), glance_test::first_seed());
    LoraTensors second(first), third(first);
    const LoraCall call(&first);
    const auto run_into = [&](LoraTensors *t) {
      LoraCall own(t);
      for (size_t g = 0; g < own.linears.size(); ++g) {
        own.linears[g].weight = call.linears[g].weight;
      }
      for (int i = 0; i < 5; ++i) EXPECT_EQ(own.run(), GLANCE_OK) << glance_last_error();
    };
    std::thread other(run_into, &second), another(run_into, &third);
    EXPECT_EQ(call.run(), GLANCE_OK) << glance_last_error();
    other.join();
    another.join();
    ASSERT_TRUE(same_y(first, second, everywhere));
    ASSERT_TRUE(same_y(first, third, everywhere));
  });
}

// h as the operation itself computes it: one more linear with W = 0 and B = 1 stores it.
void store_h(LoraTensors *t) {
  LoraCase c = t->c;
  c.linears = {{c.down_rows(0), false, GLANCE_EPILOGUE_NONE, 1, false, {c.down_rows(0)}}};
  LoraTensors only_h(c, 0);
  only_h.x = t->x;
  only_h.down = t->down;
  only_h.scale = t->scale;
  only_h.weight[0].fill(0.0f);
  only_h.up[0][0].fill(0.0f);
  for (int64_t j = 0; j < c.down_rows(0); ++j) only_h.up[0][0].set(j, j, 1.0f);
  ASSERT_EQ(LoraCall(&only_h).run(), GLANCE_OK) << glance_last_error();
  for (int64_t i = 0; i < c.rows; ++i) {
    for (int64_t j = 0; j < c.down_rows(0); ++j) {
      if (c.adapter_of(i) == 0) t->h.set(i, j, only_h.get_y(0, i, j));
    }
  }
}

TEST(LoraLinearBits, GivenHEqualsComputedH) {
  for_each_matmul([](glance_dtype dtype) {
    LoraCase c = mixed_for_matmul(dtype);
    c.adapters = 1;
    c.segments = {{0, 40, 0, 0}, {40, 50, -1, 0}, {50, 97, 0, 0}};
    for (auto &linear : c.linears) linear.ranks.resize(1);
    LoraTensors computing(c, glance_test::first_seed());
    store_h(&computing);
    if (testing::Test::HasFatalFailure()) return;
    LoraTensors given(computing);
    given.c.given_h = true;
    // Not read again.
    given.scale[0] = 0.0f;
    given.down[0].fill(std::numeric_limits<float>::quiet_NaN());
    ASSERT_TRUE(same_y(result_of(computing), result_of(given), everywhere));
  });
}

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

// One of the two on the emulator, which is slow.
std::vector<float> not_finite() {
  if (!glance_test::emulated()) return {kNan, kInfinity};
  return {glance_test::first_seed() % 2 == 0 ? kNan : kInfinity};
}

// What spoil did reaches the asked outputs, where nothing is finite any more, and no others.
void check_spread(glance_dtype dtype, const std::function<void(LoraTensors &)> &spoil,
                  const std::function<bool(size_t, int64_t, int64_t)> &reached) {
  const LoraTensors clean(mixed_for_matmul(dtype), glance_test::first_seed());
  LoraTensors spoiled(clean);
  spoil(spoiled);
  const LoraTensors right = result_of(clean);
  const LoraTensors got = result_of(spoiled);
  ASSERT_TRUE(
      same_y(right, got, [&](size_t g, int64_t i, int64_t n) { return !reached(g, i, n); }));
  for (size_t g = 0; g < got.c.linears.size(); ++g) {
    for (int64_t i = 0; i < got.c.rows; ++i) {
      for (int64_t n = 0; n < got.c.linears[g].n; ++n) {
        // GELU takes minus infinity to 0 or, in this formula, to NaN.
        if (!reached(g, i, n) || got.c.linears[g].epilogue == GLANCE_EPILOGUE_GELU_TANH) continue;
        ASSERT_FALSE(std::isfinite(got.get_y(g, i, n)))
            << "linear " << g << " at " << i << "," << n;
      }
    }
  }
}

TEST(LoraLinearBits, NonFiniteInputStaysInItsRow) {
  for_each_matmul([](glance_dtype dtype) {
    for (const float bad : not_finite()) {
      for (const int64_t row : {0, 13, 31, 96}) {
        if (glance_test::emulated() && row < 31) continue;
        check_spread(
            dtype, [&](LoraTensors &t) { t.x.set(row, 202, bad); },
            [&](size_t, int64_t i, int64_t) { return i == row; });
      }
    }
  });
}

TEST(LoraLinearBits, NonFiniteWeightStaysInItsColumn) {
  for_each_matmul([](glance_dtype dtype) {
    for (const float bad : not_finite()) {
      for (const int64_t column : {0, 47, 299}) {
        if (glance_test::emulated() && column == 47) continue;
        check_spread(
            dtype, [&](LoraTensors &t) { t.weight[0].set(column, 101, bad); },
            [&](size_t g, int64_t, int64_t n) { return g == 0 && n == column; });
      }
    }
  });
}

TEST(LoraLinearBits, NonFiniteBiasStaysInItsColumn) {
  for_each_matmul([](glance_dtype dtype) {
    check_spread(
        dtype, [&](LoraTensors &t) { t.bias[2].set(0, 129, kNan); },
        [&](size_t g, int64_t, int64_t n) { return g == 2 && n == 129; });
  });
}

TEST(LoraLinearBits, NonFiniteAdapterStaysInItsRows) {
  for_each_matmul([](glance_dtype dtype) {
    check_spread(
        dtype, [&](LoraTensors &t) { t.up[1][0].set(7, 32, kNan); },
        [&](size_t g, int64_t i, int64_t n) { return g == 0 && n == 7 && 32 <= i && i < 60; });
    // Row 16 of the first adapter's A is the first of the third linear's.
    check_spread(
        dtype, [&](LoraTensors &t) { t.down[0].set(16, 0, kNan); },
        [&](size_t g, int64_t i, int64_t) { return g == 2 && (i < 31 || i >= 60); });
  });
}

// One set of arguments whose adapters are chosen anew in device memory before each call.
class SwitchedCall {
 public:
  explicit SwitchedCall(LoraTensors *tensors)
      : call_(tensors),
        selection_(GLANCE_F32, 1, tensors->c.adapters),
        mirror_(all_buffers()),
        linears_(call_.linears),
        args_(call_.args) {
    args_.adapters.selection = static_cast<const int32_t *>(selection_.data());
    mirror_.place(&args_.x, &args_.h, &args_.adapters.selection);
    for (glance_linear &l : linears_) mirror_.place(&l.bias, &l.y, &l.gate, &l.residual);
    args_.linears = linears_.data();
    int64_t bytes = 0;
    EXPECT_EQ(glance_lora_linear_workspace(&args_, &bytes), GLANCE_OK) << glance_last_error();
    workspace_.emplace(bytes);
    args_.workspace = workspace_->data();
    args_.workspace_bytes = bytes;
  }

  void run(const std::vector<int32_t> &chosen) {
    glance_test::upload(const_cast<int32_t *>(args_.adapters.selection), chosen.data(),
                        chosen.size() * sizeof chosen[0]);
    EXPECT_EQ(mirror_.done(glance_lora_linear(&args_, nullptr)), GLANCE_OK) << glance_last_error();
  }

 private:
  std::vector<glance_test::Buffer *> all_buffers() {
    std::vector<glance_test::Buffer *> all = call_.buffers();
    all.push_back(&selection_);
    return all;
  }

  LoraCall call_;
  glance_test::Buffer selection_;
  glance_test::Mirror mirror_;
  std::vector<glance_linear> linears_;
  std::optional<glance_test::Workspace> workspace_;
  glance_lora_linear_args args_;
};

// What a table without a selection gives for the adapters that the selection chooses.
LoraTensors chosen_by_hand(const LoraTensors &before, const std::vector<int32_t> &chosen) {
  LoraTensors after(before);
  for (glance_segment &s : after.c.segments) {
    if (s.adapter >= 0) s.adapter = chosen[static_cast<size_t>(s.adapter)];
  }
  EXPECT_EQ(LoraCall(&after).run(), GLANCE_OK) << glance_last_error();
  return after;
}

void check_switches(const LoraCase &c, int count) {
  const LoraTensors before(c, glance_test::first_seed());
  const std::vector<std::vector<int32_t>> choices = {{0, 1}, {1, 0}, {-1, 1}, {0, -1}, {1, 1}};
  std::vector<LoraTensors> want;
  for (const auto &chosen : choices) want.push_back(chosen_by_hand(before, chosen));
  LoraTensors after(before);
  SwitchedCall call(&after);
  for (int i = 0; i < count; ++i) {
    const size_t choice = static_cast<size_t>(i) % choices.size();
    call.run(choices[choice]);
    for (size_t g = 0; g < after.y.size(); ++g) {
      ASSERT_TRUE(after.y[g].bytes == want[choice].y[g].bytes)
          << "linear " << g << " after " << i << " switches";
    }
  }
}

TEST(LoraLinearBitsOnCuda, AdapterSwitchesInDeviceMemory) {
  if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  for_each_matmul([](glance_dtype dtype) {
    LoraCase c;
    c.dtype = dtype;
    c.rows = 40;
    c.k = 64;
    c.aligned = true;
    c.adapters = 2;
    c.segments = {{0, 17, 0, 0}, {17, 20, -1, 0}, {20, 40, 1, 0}};
    c.linears = {{48, true, GLANCE_EPILOGUE_NONE, 1, false, {16, 8}},
                 {16, false, GLANCE_EPILOGUE_GELU_TANH, 1, false, {0, 16}}};
    check_switches(c, glance_test::emulated() ? 25 : 10000);
  });
}

}  // namespace
