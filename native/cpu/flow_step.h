// flow_step on the CPU. args are checked, with at least one element.
#pragma once

#include <glance/flow_step.h>

namespace glance {

void flow_step_cpu(const glance_flow_step_args &args) noexcept;

// The same loops compiled for each instruction set; all give the same bits.
void flow_step_rows_baseline(const glance_flow_step_args &args) noexcept;
void flow_step_rows_avx2(const glance_flow_step_args &args) noexcept;
void flow_step_rows_avx512(const glance_flow_step_args &args) noexcept;
void flow_step_rows_avx512_bf16(const glance_flow_step_args &args) noexcept;

}  // namespace glance
