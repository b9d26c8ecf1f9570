// attention, the inner loops beside the products; compiled once per instruction set.
#include <cstring>
#include <limits>

#include "cpu/attention.h"
#include "cpu/isa.h"
#include "cpu/tile_sums.h"
#include "math/exp.h"

namespace glance {
namespace {

constexpr int kColumns = kTileColumns;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

static_assert(kScoreMultiple % kSumLanes == 0, "a row of scores is a whole number of sums");

// Words of keys kColumns side by side: a transposition, a row of k at a time.
void pack_keys(const HeadRows &k, uint32_t *panels) {
  const int64_t element = k.dtype == GLANCE_F32 ? 4 : 2;
  const int64_t units = (k.dim * element + 3) / 4;
  const int64_t whole = k.dim * element / 4;
  for (int64_t first = 0; first < k.tokens; first += kColumns, panels += kColumns * units) {
    for (int64_t j = 0; j < kColumns; ++j) {
      if (first + j >= k.tokens) {
        for (int64_t u = 0; u < units; ++u) panels[u * kColumns + j] = 0;
        continue;
      }
      const char *row = k.data + (first + j) * k.token_stride_bytes;
      for (int64_t u = 0; u < whole; ++u) {
        memcpy(panels + u * kColumns + j, row + 4 * u, sizeof(uint32_t));
      }
      if (whole < units) {
        uint16_t last;
        memcpy(&last, row + 4 * whole, sizeof last);
        panels[whole * kColumns + j] = last;
      }
    }
  }
}

// Rows of v as they are, cut into ranges of kColumns channels.
void pack_values_f32(const HeadRows &v, float *panels) {
  for (int64_t first = 0; first < v.dim; first += kColumns) {
    const int64_t used = v.dim - first < kColumns ? v.dim - first : kColumns;
    for (int64_t token = 0; token < v.tokens; ++token, panels += kColumns) {
      const auto *row = reinterpret_cast<const float *>(v.data + token * v.token_stride_bytes);
      store(panels, Floats{});
      store(panels + kWidth, Floats{});
      for_vectors(used,
                  [=](int64_t j, auto part) { store(panels + j, load(row + first + j, part)); });
    }
  }
}

// Two tokens' rows of v interleaved; after an odd number of tokens a row of zeros.
void pack_values_bf16(const HeadRows &v, uint32_t *panels) {
  for (int64_t first = 0; first < v.dim; first += kColumns) {
    const int64_t used = v.dim - first < kColumns ? v.dim - first : kColumns;
    for (int64_t token = 0; token < v.tokens; token += 2, panels += kColumns) {
      uint16_t even[kColumns] = {};
      uint16_t odd[kColumns] = {};
      const char *row = v.data + token * v.token_stride_bytes + 2 * first;
      memcpy(even, row, static_cast<size_t>(2 * used));
      if (token + 1 < v.tokens) {
        memcpy(odd, row + v.token_stride_bytes, static_cast<size_t>(2 * used));
      }
      for (int j = 0; j < kColumns; ++j) {
        panels[j] = static_cast<uint32_t>(even[j]) | static_cast<uint32_t>(odd[j]) << 16;
      }
    }
  }
}

void pack_values(const HeadRows &v, uint32_t *panels) {
  if (v.dtype == GLANCE_F32) return pack_values_f32(v, reinterpret_cast<float *>(panels));
  pack_values_bf16(v, panels);
}

// Multiplies by scale in place and returns the largest; count is a multiple of kWidth.
float scale_and_find_largest(float *scores, int64_t count, float scale) {
  Floats most = Floats{} - kInfinity;
  for (int64_t i = 0; i < count; i += kWidth) {
    const Floats scaled = load(scores + i) * scale;
    store(scores + i, scaled);
    most = scaled > most ? scaled : most;
  }
  float result = most[0];
  for (int lane = 1; lane < kWidth; ++lane) result = most[lane] > result ? most[lane] : result;
  return result;
}

template <typename T>
float soften_to(float *scores, int64_t keys, float scale) {
  const int64_t padded = (keys + kSumLanes - 1) / kSumLanes * kSumLanes;
  for (int64_t i = keys; i < padded; ++i) scores[i] = scores[0];
  const float most = scale_and_find_largest(scores, padded, scale);
  // So small a weight, e^-87, that the sum, which is 1 or more, does not notice.
  for (int64_t i = keys; i < padded; ++i) scores[i] = -kInfinity;
  // Narrower elements overtake none that is still to be read.
  T *weights = reinterpret_cast<T *>(scores);
  constexpr int kParts = kSumLanes / kWidth;
  Floats sums[kParts] = {};
  for (int64_t i = 0; i < padded; i += kSumLanes) {
    Floats block[kParts];
    for (int p = 0; p < kParts; ++p) {
      block[p] = exp_f32<Floats>(load(scores + i + p * kWidth) - most);
      sums[p] += block[p];
    }
    for (int p = 0; p < kParts; ++p) store(weights + i + p * kWidth, block[p]);
  }
  if (keys % 2 != 0) weights[keys] = T{};  // the other half of the last word of bf16
  for (int half = kParts / 2; half > 0; half /= 2) {
    for (int p = 0; p < half; ++p) sums[p] += sums[p + half];
  }
  return folded(sums[0]);
}

float soften(float *scores, int64_t keys, float scale, glance_dtype dtype) {
  return dtype == GLANCE_F32 ? soften_to<float>(scores, keys, scale)
                             : soften_to<bf16>(scores, keys, scale);
}

template <typename T>
void store_as(char *out, const float *sums, float factor, int count) {
  T *to = reinterpret_cast<T *>(out);
  for_vectors(count, [=](int64_t j, auto part) { store(to + j, load(sums + j) * factor, part); });
}

void store_row(char *out, glance_dtype dtype, const float *sums, float factor, int count) {
  if (dtype == GLANCE_F32) return store_as<float>(out, sums, factor, count);
  store_as<bf16>(out, sums, factor, count);
}

constexpr AttentionKernels kKernels = {pack_keys, pack_values, soften, store_row};

}  // namespace

const AttentionKernels &GLANCE_FOR_ISA(attention_kernels)() noexcept { return kKernels; }

}  // namespace glance
