// modulated_norm on the CPU. args are checked, with at least one element.
#pragma once

#include <glance/modulated_norm.h>

#include <cstdint>

namespace glance {

void modulated_norm_cpu(const glance_modulated_norm_args &args) noexcept;

// Rows begin to end - 1 of y, without h; the same code compiled for each instruction set, all
// giving the same bits.
void modulated_norm_rows_baseline(const glance_modulated_norm_args &args, int64_t begin,
                                  int64_t end) noexcept;
void modulated_norm_rows_avx2(const glance_modulated_norm_args &args, int64_t begin,
                              int64_t end) noexcept;
void modulated_norm_rows_avx512(const glance_modulated_norm_args &args, int64_t begin,
                                int64_t end) noexcept;
void modulated_norm_rows_avx512_bf16(const glance_modulated_norm_args &args, int64_t begin,
                                     int64_t end) noexcept;

}  // namespace glance
