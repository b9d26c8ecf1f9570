// A few neighbours of a row as f32, read and written in one access of up to 16 bytes: for the
// kernels whose work is memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "math/element.h"

namespace glance {

// So many elements that none of the types takes more than 16 bytes.
template <typename... T>
constexpr int kVectorOf = 16 / static_cast<int>(std::max({sizeof(T)...}));

// Words of 32 bits that are moved together.
template <int kWords>
struct WordsOf {
  typedef uint4 Type;
};
template <>
struct WordsOf<2> {
  typedef uint2 Type;
};
template <>
struct WordsOf<1> {
  typedef uint32_t Type;
};

// kCount elements from an address on that is aligned to all of them, or to 16 bytes if they are
// more; 1, or a number that fills whole words.
template <typename T, int kCount>
static __device__ __forceinline__ void load_elements(float (&values)[kCount], const T *from) {
  if constexpr (kCount == 1) {
    values[0] = to_f32(*from);
  } else {
    constexpr int kWords = kCount * static_cast<int>(sizeof(T)) / 4;
    constexpr int kAtOnce = kWords < 4 ? kWords : 4;
    constexpr int kPerWord = 4 / static_cast<int>(sizeof(T));
#pragma unroll
    for (int w = 0; w < kWords; w += kAtOnce) {
      const auto packed =
          *reinterpret_cast<const typename WordsOf<kAtOnce>::Type *>(from + w * kPerWord);
      uint32_t words[kAtOnce];
      memcpy(words, &packed, sizeof words);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        float *to = values + (w + i) * kPerWord;
        if constexpr (kPerWord == 1) {
          memcpy(to, words + i, sizeof *to);
        } else {
          to[0] = to_f32(T{static_cast<uint16_t>(words[i])});
          to[1] = to_f32(T{static_cast<uint16_t>(words[i] >> 16)});
        }
      }
    }
  }
}

// The same elements rounded, as words.
template <typename T, int kCount, int kWords>
static __device__ __forceinline__ void pack_elements(uint32_t (&words)[kWords],
                                                     const float (&values)[kCount]) {
  constexpr int kPerWord = 4 / static_cast<int>(sizeof(T));
  static_assert(kWords * kPerWord == kCount);
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    if constexpr (kPerWord == 1) {
      memcpy(words + i, values + i, sizeof words[i]);
    } else {
      words[i] = pack_two<T>(values[2 * i], values[2 * i + 1]);
    }
  }
}

// As load_elements, but no more than 16 bytes.
template <typename T, int kCount>
static __device__ __forceinline__ void store_elements(T *to, const float (&values)[kCount]) {
  if constexpr (kCount == 1) {
    *to = from_f32<T>(values[0]);
  } else {
    uint32_t words[kCount * sizeof(T) / 4];
    pack_elements<T>(words, values);
    if constexpr (sizeof words == 16) {
      store_16(to, words);
    } else if constexpr (sizeof words == 8) {
      store_8(to, words);
    } else {
      memcpy(__builtin_assume_aligned(to, 4), words, sizeof words);
    }
  }
}

// Whether load_elements and store_elements may take `count` elements of `bytes` each at every
// multiple of count in every row. Null: nothing is accessed.
inline bool fits_vectors(const void *data, int64_t stride, int count, size_t bytes) {
  if (data == nullptr) return true;
  return reinterpret_cast<uintptr_t>(data) % (static_cast<size_t>(count) * bytes) == 0 &&
         stride % count == 0;
}

}  // namespace glance
