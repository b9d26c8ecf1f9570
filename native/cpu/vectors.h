// Vectors as wide as the instruction set's registers, for files compiled once per instruction set;
// everything here has internal linkage. In GCC's and Clang's vector types + - * are by element and
// a float operand is broadcast, so the formulas in math/ take them as they take a float.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <utility>

#include "math/element.h"
#include "math/norm.h"

namespace glance {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float Floats __attribute__((vector_size(kWidth * sizeof(float))));
typedef uint32_t Words __attribute__((vector_size(kWidth * sizeof(uint32_t))));
typedef uint16_t Halves __attribute__((vector_size(kWidth * sizeof(uint16_t))));

GLANCE_MATH Floats load(const float *from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}

// As to_f32 in math/bf16.h. GCC 12 widens in two halves and joins them unless told the instruction.
GLANCE_MATH Floats load(const bf16 *from) {
#if defined(__AVX512F__)
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
  // The form without a mask makes GCC 12 warn of its own header.
  const Words words = reinterpret_cast<Words>(_mm512_maskz_cvtepu16_epi32(0xFFFF, halves));
#elif defined(__AVX2__)
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
  const Words words = reinterpret_cast<Words>(_mm256_cvtepu16_epi32(halves));
#else
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words);
#endif
  return reinterpret_cast<Floats>(words << 16);
}

GLANCE_MATH void store(float *to, Floats values) { std::memcpy(to, &values, sizeof values); }

// As to_bf16 in math/bf16.h.
GLANCE_MATH void store_by_bits(bf16 *to, Floats values) {
  const Words bits = reinterpret_cast<Words>(values);
  const Words rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
  const Words quiet = bits | 0x400000u;
  const Words kept = values == values ? rounded : quiet;
  const Halves halves = __builtin_convertvector(kept >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

GLANCE_MATH void store(bf16 *to, Floats values) {
#if defined(__AVX512BF16__)
  // One instruction for nine, the same but that it takes denormals for zero.
  const __m512 wide = reinterpret_cast<__m512>(values);
  constexpr int kDenormal = 0x20;
  if (__builtin_expect(_mm512_fpclass_ps_mask(wide, kDenormal) == 0, 1)) {
    const __m256bh halves = _mm512_cvtneps_pbh(wide);
    return static_cast<void>(std::memcpy(to, &halves, sizeof halves));
  }
#endif
  store_by_bits(to, values);
}

// How much of a vector a step over a row takes: all of it, or at the row's end the first few.
struct Whole {};
struct First {
  int64_t count;
};

template <typename T>
GLANCE_MATH Floats load(const T *from, Whole) {
  return load(from);
}

// The other lanes are 0.
template <typename T>
GLANCE_MATH Floats load(const T *from, First part) {
  T padded[kWidth] = {};
  std::memcpy(padded, from, static_cast<size_t>(part.count) * sizeof(T));
  return load(padded);
}

template <typename T>
GLANCE_MATH void store(T *to, Floats values, Whole) {
  store(to, values);
}

template <typename T>
GLANCE_MATH void store(T *to, Floats values, First part) {
  T padded[kWidth];
  store(padded, values);
  std::memcpy(to, padded, static_cast<size_t>(part.count) * sizeof(T));
}

// Calls step(i, Whole) for each whole vector of a row and step(i, First) for what is left.
template <typename Step>
GLANCE_MATH void for_vectors(int64_t columns, const Step &step) {
  int64_t i = 0;
  for (; i + kWidth <= columns; i += kWidth) step(i, Whole{});
  if (i < columns) step(i, First{columns - i});
}

using Lanes = std::make_integer_sequence<int, kWidth>;

template <typename From, int... kLane>
GLANCE_MATH Floats permuted(Floats v, From, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(v, v, From::lane(kLane)...);
}

template <int kBy>
struct Later {
  static constexpr int lane(int i) { return (i + kBy) % kWidth; }
};

struct Even {
  static constexpr int lane(int i) { return i & ~1; }
};

struct Odd {
  static constexpr int lane(int i) { return i | 1; }
};

struct Other {
  static constexpr int lane(int i) { return i ^ 1; }
};

template <typename From>
GLANCE_MATH Floats permuted(Floats v) {
  return permuted(v, From(), Lanes());
}

// Lane 0 of the fold described at kSumLanes.
template <int kHalf = kWidth / 2>
GLANCE_MATH float folded(Floats v) {
  if constexpr (kHalf == 0) {
    return v[0];
  } else {
    return folded<kHalf / 2>(v + permuted<Later<kHalf>>(v));
  }
}

// The sum of term(element), which takes and gives Floats, over a row. term(padding) must be 0.
template <typename T, typename Term>
GLANCE_MATH float row_sum(const T *row, int64_t columns, float padding, const Term &term) {
  constexpr int kParts = kSumLanes / kWidth;
  Floats parts[kParts] = {};
  const auto add = [&](const auto *block) {
    for (int p = 0; p < kParts; ++p) parts[p] += term(load(block + p * kWidth));
  };
  int64_t i = 0;
  for (; i + kSumLanes <= columns; i += kSumLanes) add(row + i);
  if (i < columns) {
    float last[kSumLanes];
    for (int lane = 0; lane < kSumLanes; ++lane) {
      last[lane] = i + lane < columns ? to_f32(row[i + lane]) : padding;
    }
    add(last);
  }
  for (int half = kParts / 2; half > 0; half /= 2) {
    for (int p = 0; p < half; ++p) parts[p] += parts[p + half];
  }
  return folded(parts[0]);
}

}  // namespace
}  // namespace glance
