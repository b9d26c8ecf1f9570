// math/f16.h against the compiler's own half precision, where it has one: every half to f32, and to
// halves a sample of all f32 values with every one at or next to a tie, subnormals, overflow and
// NaN.
#include "math/f16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

#include "tests/support.h"

namespace {

#if defined(__FLT16_MAX__)
__extension__ typedef _Float16 Half;

Half half_of(uint16_t bits) {
  Half half;
  std::memcpy(&half, &bits, sizeof half);
  return half;
}

uint16_t bits_of(Half half) {
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

bool is_nan(uint16_t bits) { return (bits & 0x7FFFu) > 0x7C00u; }

TEST(F16, EveryHalfToF32) {
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const float got = glance::to_f32(glance::f16{bits});
    if (is_nan(bits)) {
      EXPECT_TRUE(std::isnan(got)) << i;
      EXPECT_EQ(std::signbit(got), (bits & 0x8000u) != 0) << i;
    } else {
      ASSERT_EQ(bits_of(got), bits_of(static_cast<float>(half_of(bits)))) << i;
    }
  }
}

// A NaN stays one, of the same sign, but there is one only.
void check_to_f16(uint32_t bits) {
  const float value = float_of(bits);
  const uint16_t got = glance::to_f16(value).bits;
  const uint16_t want = std::isnan(value) ? static_cast<uint16_t>((bits >> 16 & 0x8000u) | 0x7E00u)
                                          : bits_of(static_cast<Half>(value));
  ASSERT_EQ(got, want) << "of bits " << bits << ", " << value;
}

// Every half comes back, and what lies between two neighbours rounds as it should: at the tie and
// on either side of it, next to either half, and behind the largest.
TEST(F16, AroundEveryHalf) {
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    if (is_nan(bits) || (bits & 0x7FFFu) == 0x7C00u) continue;
    const float here = static_cast<float>(half_of(bits));
    const bool last = (bits & 0x7FFFu) == 0x7BFFu;
    const float next = last ? std::copysign(65536.0f, here)
                            : static_cast<float>(half_of(static_cast<uint16_t>(bits + 1)));
    const uint32_t tie = bits_of((here + next) / 2);
    for (const uint32_t f : {bits_of(here), bits_of(here) + 1, tie - 1, tie, tie + 1,
                             bits_of(next) - 1, bits_of(next)}) {
      check_to_f16(f);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(F16, AnyF32) {
  std::mt19937 random(glance_test::first_seed());
  for (int i = 0; i < 4000000; ++i) {
    check_to_f16(static_cast<uint32_t>(random()));
    if (HasFatalFailure()) return;
  }
  // Exponents that a half has, subnormals too.
  for (int i = 0; i < 4000000; ++i) {
    const uint32_t r = static_cast<uint32_t>(random());
    check_to_f16((r & 0x80000000u) | (0x32000000u + r % 0x16800000u));
    if (HasFatalFailure()) return;
  }
  for (const uint32_t f : {0u, 0x80000000u, 1u, 0x80000001u, 0x33000000u, 0x33000001u, 0x32FFFFFFu,
                           0x387FFFFFu, 0x38800000u, 0x477FEFFFu, 0x477FF000u, 0x7F7FFFFFu,
                           0x7F800000u, 0xFF800000u, 0x7F800001u, 0xFFFFFFFFu}) {
    check_to_f16(f);
  }
}
#else
TEST(F16, NothingToCompareWith) { GTEST_SKIP() << "the compiler has no half precision"; }
#endif

}  // namespace
