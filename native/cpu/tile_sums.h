// Vectors of one instruction set, for the register tile: included by a file that CMake compiles once
// for each. Everything has internal linkage.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace glance {
namespace {

#if defined(__AVX512F__)

constexpr int kLanes = 16;
constexpr int kRowsF32 = 14;
using F32 = __m512;
using Words = __m512i;
inline F32 zero() { return _mm512_setzero_ps(); }
inline Words load(const uint32_t *p) { return _mm512_loadu_si512(p); }
inline Words broadcast(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
inline F32 as_f32(Words x) { return _mm512_castsi512_ps(x); }
inline F32 multiply_add(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
// Not the shift intrinsic, of which GCC 12 says that it reads an uninitialised value.
typedef uint32_t Uint32 __attribute__((vector_size(64)));
inline F32 even(Words x) { return as_f32((Words)((Uint32)x << 16)); }
inline F32 odd(Words x) { return as_f32(_mm512_and_si512(x, broadcast(0xFFFF0000u))); }
inline void store(float *p, F32 x) { _mm512_storeu_ps(p, x); }

#elif defined(__AVX2__)

constexpr int kLanes = 8;
constexpr int kRowsF32 = 6;
using F32 = __m256;
using Words = __m256i;
inline F32 zero() { return _mm256_setzero_ps(); }
inline Words load(const uint32_t *p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
}
inline Words broadcast(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
inline F32 as_f32(Words x) { return _mm256_castsi256_ps(x); }
inline F32 multiply_add(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
inline F32 even(Words x) { return as_f32(_mm256_slli_epi32(x, 16)); }
inline F32 odd(Words x) { return as_f32(_mm256_and_si256(x, broadcast(0xFFFF0000u))); }
inline void store(float *p, F32 x) { _mm256_storeu_ps(p, x); }

#else  // four lanes of whatever the platform has, by the compiler's own vectors

constexpr int kLanes = 4;
constexpr int kRowsF32 = 6;
typedef float F32 __attribute__((vector_size(16)));
typedef uint32_t Words __attribute__((vector_size(16)));
inline F32 zero() { return F32{}; }
inline Words load(const uint32_t *p) {
  Words x;
  memcpy(&x, p, sizeof x);
  return x;
}
inline Words broadcast(uint32_t x) { return Words{x, x, x, x}; }
inline F32 as_f32(Words x) { return reinterpret_cast<F32>(x); }
inline F32 multiply_add(F32 a, F32 b, F32 c) { return a * b + c; }
inline F32 even(Words x) { return as_f32(x << 16); }
inline F32 odd(Words x) { return as_f32(x & 0xFFFF0000u); }
inline void store(float *p, F32 x) { memcpy(p, &x, sizeof x); }

#endif

// One column of x's tile times one vector of a panel's unit, in f32.
struct MultiplyF32 {
  static constexpr int kRows = kRowsF32;
  struct Operand {
    F32 value;
  };
  static Operand operand(Words x) { return {as_f32(x)}; }
  static F32 add(F32 sum, const Operand &a, const Operand &b) {
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
  static F32 add(F32 sum, const Operand &a, const Operand &b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a.value),
                            reinterpret_cast<__m512bh>(b.value));
  }
};

#else

// Without the instruction the two halves are widened, which takes two registers an operand.
struct MultiplyBf16 {
  static constexpr int kRows = kRowsF32 - 2;
  struct Operand {
    F32 even;
    F32 odd;
  };
  static Operand operand(Words x) { return {glance::even(x), glance::odd(x)}; }
  static F32 add(F32 sum, const Operand &a, const Operand &b) {
    return multiply_add(a.odd, b.odd, multiply_add(a.even, b.even, sum));
  }
};

#endif

}  // namespace
}  // namespace glance
