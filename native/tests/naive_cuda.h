// The operations on CUDA once more, as plainly as they can be written: a second oracle for the
// tests, at sizes that float64 on the CPU takes too long for. One thread computes one element, from
// the formula in the operation's header, with f32 sums in the order of the index.
//
// Each takes checked arguments of device CUDA, on the default stream, and does not work in place.
// An error is found by the next synchronize(). The workspace is not used.
#pragma once

#include <glance/flow_step.h>
#include <glance/gated_residual.h>
#include <glance/lora_linear.h>
#include <glance/modulated_norm.h>
#include <glance/qk_norm_rope.h>

namespace glance_test {

void naive_flow_step(const glance_flow_step_args &args);
void naive_gated_residual(const glance_gated_residual_args &args);
void naive_modulated_norm(const glance_modulated_norm_args &args);
void naive_qk_norm_rope(const glance_qk_norm_rope_args &args);
void naive_lora_linear(const glance_lora_linear_args &args);
void naive_lora_linear_backward(const glance_lora_linear_backward_args &args);

}  // namespace glance_test
