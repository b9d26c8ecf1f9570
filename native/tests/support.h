// What the tests of all operations share: matrices with poisoned gaps, seeds, instruction sets.
#pragma once

#include <glance/core.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "math/element.h"

namespace glance_test {

// The first seed of this process, drawn anew each time; the environment variable GLANCE_TEST_SEED
// sets it, to repeat a failure.
inline unsigned first_seed() {
  static const unsigned seed = [] {
    const char *set = std::getenv("GLANCE_TEST_SEED");
    const unsigned first = set != nullptr ? static_cast<unsigned>(std::strtoul(set, nullptr, 10))
                                          : std::random_device()();
    std::printf("GLANCE_TEST_SEED=%u\n", first);
    return first;
  }();
  return seed;
}

// Of the cases of a long sweep, one in this many is run: fewer where each costs ten times as much.
// Which ones depends on the seed.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr unsigned kSweepStep = 8;
#else
constexpr unsigned kSweepStep = 1;
#endif

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
    uint16_t narrow;
    std::memcpy(&narrow, at(row, column), sizeof narrow);
    return dtype == GLANCE_BF16 ? glance::to_f32(glance::bf16{narrow})
                                : glance::to_f32(glance::f16{narrow});
  }

  void set(int64_t row, int64_t column, float value) {
    if (dtype == GLANCE_F32) {
      std::memcpy(at(row, column), &value, sizeof value);
      return;
    }
    const uint16_t narrow =
        dtype == GLANCE_BF16 ? glance::to_bf16(value).bits : glance::to_f16(value).bits;
    std::memcpy(at(row, column), &narrow, sizeof narrow);
  }

  // Normally distributed values around 0.
  void fill(std::mt19937 &random, float deviation = 1.0f) {
    std::normal_distribution<float> normal(0.0f, deviation);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) set(r, c, normal(random));
    }
  }

  void fill(float value) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) set(r, c, value);
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
    const uint16_t narrow = dtype == GLANCE_BF16 ? 0x7FA5u : 0x7DA5u;
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

inline const char *name(glance_dtype dtype) {
  return dtype == GLANCE_F32 ? "f32" : dtype == GLANCE_BF16 ? "bf16" : "f16";
}

// A value as an element of this type holds it.
inline float rounded(glance_dtype dtype, float value) {
  if (dtype == GLANCE_F32) return value;
  return dtype == GLANCE_BF16 ? glance::to_f32(glance::to_bf16(value))
                              : glance::to_f32(glance::to_f16(value));
}

// What rounding a value to this type may cost; nothing in f32, whose roundings are counted apart.
inline double narrowing_error(glance_dtype dtype, double value) {
  if (dtype == GLANCE_F32) return 0;
  if (dtype == GLANCE_BF16) return std::ldexp(std::fabs(value), -8);
  return std::ldexp(std::fabs(value), -11) + std::ldexp(1.0, -25);
}

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

}  // namespace glance_test
