// qk_norm_rope on the CPU. args are checked, with at least one element.
#pragma once

#include <glance/qk_norm_rope.h>

#include <cstdint>

namespace glance {

void qk_norm_rope_cpu(const glance_qk_norm_rope_args &args) noexcept;

// Tokens begin to end - 1 of batch * tokens; the same code compiled for each instruction set, all
// giving the same bits.
void qk_norm_rope_rows_baseline(const glance_qk_norm_rope_args &args, int64_t begin,
                                int64_t end) noexcept;
void qk_norm_rope_rows_avx2(const glance_qk_norm_rope_args &args, int64_t begin,
                            int64_t end) noexcept;
void qk_norm_rope_rows_avx512(const glance_qk_norm_rope_args &args, int64_t begin,
                              int64_t end) noexcept;
void qk_norm_rope_rows_avx512_bf16(const glance_qk_norm_rope_args &args, int64_t begin,
                                   int64_t end) noexcept;

}  // namespace glance
