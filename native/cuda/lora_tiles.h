// The products of lora_linear on CUDA: y = epilogue(x W^T + b + h B^T) for all linears of a call.
#pragma once

#include <glance/lora_linear.h>

#include "cuda/lora_params.h"

namespace glance {

// mma.sync, for BF16 and F16: any shape, stride and alignment.
glance_status lora_tiles_mma(const LoraParams &params, glance_dtype dtype,
                             cudaStream_t stream) noexcept;

// wgmma, for BF16 and F16, on devices of compute capability 9.0.
glance_status lora_tiles_wgmma(const LoraParams &params, glance_dtype dtype,
                               cudaStream_t stream) noexcept;

// What keeps lora_tiles_wgmma from these parameters, or null: for messages, "x_stride is not ...".
const char *why_not_wgmma(const LoraParams &params, glance_dtype dtype) noexcept;

// Fused multiply-adds, for F32: any shape, stride and alignment.
glance_status lora_tiles_f32(const LoraParams &params, cudaStream_t stream) noexcept;

}  // namespace glance
