// attention on the CPU, and what of it is compiled for each instruction set.
#pragma once

#include <glance/attention.h>

#include <cstdint>

namespace glance {

// Arguments are checked.
glance_status attention_cpu(const glance_attention_args &args) noexcept;

// One head's k or v, dim channels side by side.
struct HeadRows {
  const char *data;
  int64_t tokens;
  int64_t dim;
  int64_t token_stride_bytes;
  glance_dtype dtype;
};

// See AttentionKernels::soften.
constexpr int kScoreMultiple = 32;

// The inner loops for one instruction set. Panels are as in core/packed_matrix.h.
struct AttentionKernels {
  // Panels of k as W: tokens in rows, dim in columns.
  void (*pack_keys)(const HeadRows &k, uint32_t *panels);
  // Panels of v transposed: dim in rows, tokens in columns.
  void (*pack_values)(const HeadRows &v, uint32_t *panels);
  // Turns a row's scores into e^(scale * score - the largest), in place, as f32 or, side by side,
  // as bf16 with a zero after an odd number; returns their sum. The row has room for a multiple of
  // kScoreMultiple.
  float (*soften)(float *scores, int64_t keys, float scale, glance_dtype dtype);
  // out = factor * sums, rounded.
  void (*store)(char *out, glance_dtype dtype, const float *sums, float factor, int count);
};

const AttentionKernels &attention_kernels_baseline() noexcept;
const AttentionKernels &attention_kernels_avx2() noexcept;
const AttentionKernels &attention_kernels_avx512() noexcept;
const AttentionKernels &attention_kernels_avx512_bf16() noexcept;

}  // namespace glance
