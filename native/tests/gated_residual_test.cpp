// glance_gated_residual against a float64 oracle, for every instruction set of this machine: ragged
// sizes, strides, odd addresses, in place, threads, NaN and infinity, and every argument that must
// be refused.
#include <glance/gated_residual.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "math/bf16.h"

// Helpers, until the tests share a header of them.
namespace glance_test {
namespace {

// The first seed of this process, drawn anew each time; the environment variable GLANCE_TEST_SEED
// sets it, to repeat a failure.
inline unsigned first_seed() {
  static const unsigned seed = [] {
    const char *set = std::getenv("GLANCE_TEST_SEED");
    const unsigned first = set != nullptr
                               ? static_cast<unsigned>(std::strtoul(set, nullptr, 10))
                               : std::random_device()();
    std::printf("GLANCE_TEST_SEED=%u\n", first);
    return first;
  }();
  return seed;
}

// A matrix with an offset before its first element and a gap after each row. Both hold signalling
// NaNs, as does the matrix itself until it is filled: read, they spoil a result; computed with,
// they become quiet ones, so that writing such a result back into a gap shows as well.
class Buffer {
 public:
  Buffer(glance_dtype type, int64_t r, int64_t c, int64_t gap, int64_t offset)
      : dtype(type), rows(r), columns(c), stride(c + gap), offset_(offset) {
    poison();
  }

  // A matrix without gaps.
  Buffer(glance_dtype type, int64_t r, int64_t c) : Buffer(type, r, c, 0, 0) {}

  int64_t element_bytes() const { return dtype == GLANCE_F32 ? 4 : 2; }

  void *data() { return bytes.data() + offset_ * element_bytes(); }
  const void *data() const { return at(0, 0); }

  const unsigned char *at(int64_t row, int64_t column) const {
    return bytes.data() + (offset_ + row * stride + column) * element_bytes();
  }
  unsigned char *at(int64_t row, int64_t column) {
    return const_cast<unsigned char *>(static_cast<const Buffer *>(this)->at(row, column));
  }

  float get(int64_t row, int64_t column) const {
    if (dtype == GLANCE_F32) {
      float wide;
      std::memcpy(&wide, at(row, column), sizeof wide);
      return wide;
    }
    glance::bf16 narrow;
    std::memcpy(&narrow, at(row, column), sizeof narrow);
    return glance::to_f32(narrow);
  }

  void set(int64_t row, int64_t column, float value) {
    const glance::bf16 narrow = glance::to_bf16(value);
    if (dtype == GLANCE_F32) {
      std::memcpy(at(row, column), &value, sizeof value);
    } else {
      std::memcpy(at(row, column), &narrow, sizeof narrow);
    }
  }

  // Normally distributed values around 0.
  void fill(std::mt19937 &random, float deviation = 1.0f) {
    std::normal_distribution<float> normal(0.0f, deviation);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) set(r, c, normal(random));
    }
  }

  bool gaps_untouched() const {
    const Buffer fresh(dtype, rows, columns, stride - columns, offset_);
    size_t from = 0;
    for (int64_t r = 0; r <= rows; ++r) {
      const size_t to = r == rows ? bytes.size() : static_cast<size_t>(at(r, 0) - bytes.data());
      if (std::memcmp(bytes.data() + from, fresh.bytes.data() + from, to - from) != 0) return false;
      from = to + static_cast<size_t>(columns * element_bytes());
    }
    return true;
  }

  glance_dtype dtype;
  int64_t rows, columns, stride;
  std::vector<unsigned char> bytes;

 private:
  // Behind the last row: nothing where the address sanitizer watches, else more poison.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr int64_t kTail = 0;
#else
  static constexpr int64_t kTail = 64;
#endif

  void poison() {
    const uint32_t wide = 0x7FA5A5A5u;
    const uint16_t narrow = 0x7FA5u;
    const int64_t last = rows > 0 ? (rows - 1) * stride + columns : 0;
    const int64_t count = offset_ + last + kTail;
    bytes.resize(static_cast<size_t>(count * element_bytes()));
    for (int64_t i = 0; i < count; ++i) {
      unsigned char *place = bytes.data() + i * element_bytes();
      if (dtype == GLANCE_F32) {
        std::memcpy(place, &wide, sizeof wide);
      } else {
        std::memcpy(place, &narrow, sizeof narrow);
      }
    }
  }

  int64_t offset_;
};

inline const char *name(glance_dtype dtype) { return dtype == GLANCE_F32 ? "f32" : "bf16"; }

inline const char *name(glance::Isa isa) {
  switch (isa) {
    case glance::Isa::avx512_bf16:
      return "avx512_bf16";
    case glance::Isa::avx512:
      return "avx512";
    case glance::Isa::avx2:
      return "avx2";
    case glance::Isa::baseline:
      break;
  }
  return "baseline";
}

// Every call from here to the end of the scope runs on this instruction set.
class UseIsa {
 public:
  explicit UseIsa(glance::Isa isa) { glance::set_isa_for_test(isa); }
  ~UseIsa() { glance::set_isa_for_test(glance::Isa::avx512_bf16); }
  UseIsa(const UseIsa &) = delete;
  UseIsa &operator=(const UseIsa &) = delete;
};

// The instruction sets of this machine, the least first.
inline std::vector<glance::Isa> isas() {
  std::vector<glance::Isa> all;
  for (int i = 0; i <= static_cast<int>(glance::best_isa()); ++i) {
    all.push_back(static_cast<glance::Isa>(i));
  }
  return all;
}

// Every call from here to the end of the scope may use this many threads.
class UseThreads {
 public:
  explicit UseThreads(int32_t threads) : before_(glance_threads()) { glance_set_threads(threads); }
  ~UseThreads() { glance_set_threads(before_); }
  UseThreads(const UseThreads &) = delete;
  UseThreads &operator=(const UseThreads &) = delete;

 private:
  int32_t before_;
};

// Whether text has word in it, with no letter, digit or underscore on either side.
inline bool has_word(const std::string &text, const std::string &word) {
  const auto part_of_word = [&](size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
  };
  for (size_t i = text.find(word); i != std::string::npos; i = text.find(word, i + 1)) {
    if (!part_of_word(i - 1) && !part_of_word(i + word.size())) return true;
  }
  return false;
}

// The call was refused for its argument, and its message has that argument's name in it.
inline testing::AssertionResult refused(glance_status status, const std::string &argument) {
  if (status != GLANCE_INVALID_ARGUMENT) {
    return testing::AssertionFailure() << "a wrong " << argument << " gives status " << status;
  }
  if (!has_word(glance_last_error(), argument)) {
    return testing::AssertionFailure() << "no " << argument << " in: " << glance_last_error();
  }
  return testing::AssertionSuccess();
}

}  // namespace
}  // namespace glance_test

namespace {

using glance_test::Buffer;
using glance_test::refused;
using glance_test::UseIsa;
using glance_test::UseThreads;

enum Place { kApart, kOnResidual, kOnUpdate };

struct Case {
  int64_t rows, columns, gap, offset, rows_per_gate;
  glance_dtype dtype;
  Place place;

  std::string name() const {
    return "rows=" + std::to_string(rows) + " columns=" + std::to_string(columns) +
           " gap=" + std::to_string(gap) + " offset=" + std::to_string(offset) +
           " rows_per_gate=" + std::to_string(rows_per_gate) +
           " dtype=" + glance_test::name(dtype) + " place=" + std::to_string(place);
  }
};

struct Problem {
  Buffer residual, update, gate, y;
  glance_gated_residual_args args = {};

  Problem(const Case &c, unsigned seed)
      : residual(c.dtype, c.rows, c.columns, c.gap, c.offset),
        update(c.dtype, c.rows, c.columns, 2 * c.gap, c.offset),
        gate(c.dtype, (c.rows - 1) / c.rows_per_gate + 1, c.columns, 3 * c.gap, c.offset),
        y(c.dtype, c.rows, c.columns, c.gap, c.offset),
        place_(c.place) {
    std::mt19937 random(seed);
    residual.fill(random);
    update.fill(random);
    gate.fill(random);
    args.struct_size = sizeof args;
    args.rows = c.rows;
    args.columns = c.columns;
    args.rows_per_gate = c.rows_per_gate;
    args.dtype = c.dtype;
    point();
  }
  Problem(const Problem &) = delete;
  Problem &operator=(const Problem &) = delete;

  Buffer &out() { return place_ == kApart ? y : place_ == kOnResidual ? residual : update; }

  void point() {
    args.residual = residual.data();
    args.update = update.data();
    args.gate = gate.data();
    args.y = out().data();
    args.residual_stride = residual.stride;
    args.update_stride = update.stride;
    args.gate_stride = gate.stride;
    args.y_stride = out().stride;
  }

 private:
  Place place_;
};

void check_values(Problem &before, Problem &after) {
  const glance_gated_residual_args &a = after.args;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.columns; ++c) {
      const double residual = before.residual.get(r, c);
      const double added =
          static_cast<double>(before.gate.get(r / a.rows_per_gate, c)) * before.update.get(r, c);
      const double want = residual + added;
      const double f32_error = std::ldexp(std::fabs(residual) + 2 * std::fabs(added), -24);
      const double bf16_error = a.dtype == GLANCE_BF16 ? std::ldexp(std::fabs(want), -8) : 0;
      ASSERT_NEAR(after.out().get(r, c), want, f32_error + bf16_error) << "at " << r << "," << c;
    }
  }
}

void check_case(const Case &c, unsigned seed) {
  SCOPED_TRACE(c.name() + " seed=" + std::to_string(seed));
  Problem before(c, seed), baseline(c, seed);
  {
    const UseIsa least(glance::Isa::baseline);
    ASSERT_EQ(glance_gated_residual(&baseline.args, nullptr), GLANCE_OK) << glance_last_error();
  }
  for (glance::Isa isa : glance_test::isas()) {
    SCOPED_TRACE(glance_test::name(isa));
    const UseIsa use(isa);
    Problem after(c, seed);
    ASSERT_EQ(glance_gated_residual(&after.args, nullptr), GLANCE_OK) << glance_last_error();
    check_values(before, after);
    EXPECT_EQ(after.out().bytes, baseline.out().bytes) << "bits differ from baseline's";
    EXPECT_TRUE(after.out().gaps_untouched());
    EXPECT_EQ(after.gate.bytes, before.gate.bytes);
    if (c.place != kOnResidual) {
      EXPECT_EQ(after.residual.bytes, before.residual.bytes);
    }
    if (c.place != kOnUpdate) {
      EXPECT_EQ(after.update.bytes, before.update.bytes);
    }
  }
}

TEST(GatedResidual, Values) {
  unsigned seed = glance_test::first_seed();
  const int64_t sizes[][2] = {{1, 1}, {3, 15}, {5, 16}, {4, 17}, {7, 64}, {2, 127}, {105, 192}};
  for (const auto &size : sizes) {
    for (int64_t rows_per_gate : {int64_t{1}, int64_t{3}, size[0]}) {
      for (glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
        for (Place place : {kApart, kOnResidual, kOnUpdate}) {
          for (int64_t gap : {0, 1}) {
            check_case({size[0], size[1], gap, 2 * gap + 1, rows_per_gate, dtype, place}, seed++);
          }
        }
      }
    }
  }
}

TEST(GatedResidual, SameBitsForAnyNumberOfThreads) {
  for (glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
    const Case c = {521, 401, 3, 1, 7, dtype, kApart};
    const unsigned seed = glance_test::first_seed();
    Problem alone(c, seed);
    {
      const UseThreads one(1);
      ASSERT_EQ(glance_gated_residual(&alone.args, nullptr), GLANCE_OK);
    }
    check_values(alone, alone);
    for (int32_t threads : {2, 3}) {
      const UseThreads use(threads);
      Problem shared(c, seed);
      ASSERT_EQ(glance_gated_residual(&shared.args, nullptr), GLANCE_OK);
      EXPECT_EQ(shared.y.bytes, alone.y.bytes) << threads << " threads, seed " << seed;
    }
  }
}

TEST(GatedResidual, SpecialValuesStayWhereTheyAre) {
  const float inf = std::numeric_limits<float>::infinity();
  for (glance::Isa isa : glance_test::isas()) {
    const UseIsa use(isa);
    for (glance_dtype dtype : {GLANCE_F32, GLANCE_BF16}) {
      Problem p({3, 37, 0, 0, 3, dtype, kApart}, 5);
      p.update.set(0, 2, std::numeric_limits<float>::quiet_NaN());
      p.residual.set(1, 36, inf);
      p.residual.set(2, 1, 1e-40f);
      p.update.set(2, 1, 0.0f);
      ASSERT_EQ(glance_gated_residual(&p.args, nullptr), GLANCE_OK);
      for (int64_t r = 0; r < 3; ++r) {
        for (int64_t c = 0; c < 37; ++c) {
          const float got = p.y.get(r, c);
          const bool spoiled = (r == 0 && c == 2) || (r == 1 && c == 36);
          EXPECT_EQ(std::isfinite(got), !spoiled) << glance_test::name(isa) << " " << r << "," << c;
        }
      }
      EXPECT_TRUE(std::isnan(p.y.get(0, 2)));
      EXPECT_EQ(p.y.get(1, 36), inf);
      EXPECT_EQ(p.y.get(2, 1), p.residual.get(2, 1)) << "a denormal, " << glance_test::name(isa);
    }
  }
}

void expect_refused(const char *argument, const std::function<void(Problem &)> &spoil) {
  const Case c = {4, 8, 0, 0, 2, GLANCE_BF16, kApart};
  Problem p(c, 3), before(c, 3);
  spoil(p);
  EXPECT_TRUE(refused(glance_gated_residual(&p.args, nullptr), argument));
  EXPECT_EQ(p.y.bytes, before.y.bytes) << argument;
  EXPECT_EQ(p.residual.bytes, before.residual.bytes) << argument;
  EXPECT_EQ(p.update.bytes, before.update.bytes) << argument;
}

TEST(GatedResidual, Refusals) {
  const int64_t huge = std::numeric_limits<int64_t>::max() / 2;
  const auto odd = [](const void *p) { return static_cast<const char *>(p) + 1; };
  EXPECT_TRUE(refused(glance_gated_residual(nullptr, nullptr), "args"));
  expect_refused("struct_size", [](Problem &p) { p.args.struct_size -= 8; });
  expect_refused("rows", [](Problem &p) { p.args.rows = -1; });
  expect_refused("columns", [](Problem &p) { p.args.columns = -1; });
  expect_refused("rows_per_gate", [](Problem &p) { p.args.rows_per_gate = 0; });
  expect_refused("dtype", [](Problem &p) { p.args.dtype = GLANCE_F16; });
  expect_refused("device", [](Problem &p) { p.args.device = 2; });
  expect_refused("device_index", [](Problem &p) { p.args.device_index = 1; });
  expect_refused("reserved", [](Problem &p) { p.args.reserved = 1; });
  expect_refused("residual", [](Problem &p) { p.args.residual = nullptr; });
  expect_refused("update", [](Problem &p) { p.args.update = nullptr; });
  expect_refused("gate", [](Problem &p) { p.args.gate = nullptr; });
  expect_refused("y", [](Problem &p) { p.args.y = nullptr; });
  expect_refused("residual", [=](Problem &p) { p.args.residual = odd(p.args.residual); });
  expect_refused("update", [=](Problem &p) { p.args.update = odd(p.args.update); });
  expect_refused("gate", [=](Problem &p) { p.args.gate = odd(p.args.gate); });
  expect_refused("y", [](Problem &p) { p.args.y = static_cast<char *>(p.args.y) + 1; });
  expect_refused("residual_stride", [](Problem &p) { p.args.residual_stride = 7; });
  expect_refused("update_stride", [](Problem &p) { p.args.update_stride = -8; });
  expect_refused("gate_stride", [](Problem &p) { p.args.gate_stride = 0; });
  expect_refused("y_stride", [](Problem &p) { p.args.y_stride = 1; });
  expect_refused("update", [=](Problem &p) { p.args.update_stride = huge; });
  expect_refused("gate", [](Problem &p) { p.args.y = p.gate.data(); });
  expect_refused("residual", [](Problem &p) {
    p.args.y = p.residual.data();
    p.args.y_stride = 9;
    p.args.rows = 3;
  });
  expect_refused("update", [](Problem &p) {
    p.args.y = p.update.at(0, 1);
    p.args.rows = 3;
  });
}

TEST(GatedResidual, StreamAndNothingToDo) {
  Problem p({4, 8, 0, 0, 2, GLANCE_F32, kApart}, 3);
  int not_a_stream = 0;
  EXPECT_TRUE(refused(glance_gated_residual(&p.args, &not_a_stream), "stream"));
  p.args.rows = 0;
  p.args.residual = p.args.update = p.args.gate = p.args.y = nullptr;
  EXPECT_EQ(glance_gated_residual(&p.args, nullptr), GLANCE_OK);
}

}  // namespace
