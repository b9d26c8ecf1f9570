// gated_residual on the CPU. args are checked, with at least one element.
#pragma once

#include <glance/gated_residual.h>

#include <cstdint>

namespace glance {

void gated_residual_cpu(const glance_gated_residual_args &args) noexcept;

// Rows begin to end - 1; the same code compiled for each instruction set, all giving the same bits.
void gated_residual_rows_baseline(const glance_gated_residual_args &args, int64_t begin,
                                  int64_t end) noexcept;
void gated_residual_rows_avx2(const glance_gated_residual_args &args, int64_t begin,
                              int64_t end) noexcept;
void gated_residual_rows_avx512(const glance_gated_residual_args &args, int64_t begin,
                                int64_t end) noexcept;
void gated_residual_rows_avx512_bf16(const glance_gated_residual_args &args, int64_t begin,
                                     int64_t end) noexcept;

}  // namespace glance
