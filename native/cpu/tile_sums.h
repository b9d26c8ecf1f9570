// Steps of the register tile's inner loop, for files that CMake compiles once for each instruction
// set. Everything has internal linkage.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/vectors.h"

namespace glance {
namespace {

// A tile is this many rows times two vectors: as many sums as leave registers for the factors.
#if defined(__AVX512F__)
constexpr int kRowsF32 = 14;
#else
constexpr int kRowsF32 = 6;
#endif
constexpr int kTileColumns = 2 * kWidth;

GLANCE_MATH Words load_words(const uint32_t *from) {
  Words words;
  std::memcpy(&words, from, sizeof words);
  return words;
}

GLANCE_MATH Words broadcast(uint32_t x) { return Words{} + x; }
GLANCE_MATH Floats as_floats(Words x) { return reinterpret_cast<Floats>(x); }
GLANCE_MATH Floats even(Words x) { return as_floats(x << 16); }
GLANCE_MATH Floats odd(Words x) { return as_floats(x & 0xFFFF0000u); }

// In one rounding where the instruction set has it.
GLANCE_MATH Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
  return reinterpret_cast<Floats>(_mm512_fmadd_ps(
      reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__AVX2__)
  return reinterpret_cast<Floats>(_mm256_fmadd_ps(
      reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#else
  return a * b + c;
#endif
}

// One column of x's tile times one vector of a panel's unit, in f32.
struct MultiplyF32 {
  static constexpr int kRows = kRowsF32;
  struct Operand {
    Floats value;
  };
  static Operand operand(Words x) { return {as_floats(x)}; }
  static Floats add(Floats sum, const Operand &a, const Operand &b) {
    return multiply_add(a.value, b.value, sum);
  }
};

#if defined(__AVX512BF16__)

// A pair of bf16 each: the instruction adds both products.
struct MultiplyBf16 {
  static constexpr int kRows = kRowsF32;
  struct Operand {
    Words value;
  };
  static Operand operand(Words x) { return {x}; }
  static Floats add(Floats sum, const Operand &a, const Operand &b) {
    return reinterpret_cast<Floats>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                     reinterpret_cast<__m512bh>(a.value),
                                                     reinterpret_cast<__m512bh>(b.value)));
  }
};

#else

// Without the instruction the two halves are widened, which takes two registers an operand.
struct MultiplyBf16 {
  static constexpr int kRows = kRowsF32 - 2;
  struct Operand {
    Floats even;
    Floats odd;
  };
  static Operand operand(Words x) { return {glance::even(x), glance::odd(x)}; }
  static Floats add(Floats sum, const Operand &a, const Operand &b) {
    return multiply_add(a.odd, b.odd, multiply_add(a.even, b.even, sum));
  }
};

#endif

}  // namespace
}  // namespace glance
