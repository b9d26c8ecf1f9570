// The products of lora_linear on CUDA: y = epilogue(x W^T + b + h B^T) for all linears of a call.
#pragma once

#include <glance/lora_linear.h>

#include "cuda/lora_params.h"

namespace glance {

// mma.sync, for BF16 and F16: any shape, stride and alignment.
glance_status lora_tiles_mma(const LoraParams &params, glance_dtype dtype,
                             cudaStream_t stream) noexcept;

// wgmma, for BF16 and F16, on devices of compute capability 9.0; tile_columns is 128, 192 or 256, or
// 0 for whichever suits the shapes.
glance_status lora_tiles_wgmma(const LoraParams &params, glance_dtype dtype, int32_t tile_columns,
                               cudaStream_t stream) noexcept;

// How many multiprocessors that call leaves idle while the others make their last tile: the kernel
// before may have them, for as long as a tile takes, at no cost. 0 if they are less than half.
int32_t idle_with_wgmma(const LoraParams &params, int32_t tile_columns) noexcept;

// What keeps lora_tiles_wgmma from these parameters, or null: for messages, "x_stride is not ...".
const char *why_not_wgmma(const LoraParams &params, glance_dtype dtype) noexcept;

// Fused multiply-adds, for F32: any shape, stride and alignment.
glance_status lora_tiles_f32(const LoraParams &params, cudaStream_t stream) noexcept;

}  // namespace glance
