// Down-projections x A^T on CUDA: the first half of a LoRA pair.
#pragma once

#include <glance/lora_linear.h>

#include "cuda/lora_params.h"

namespace glance {

// h = scale * (x A^T) for the rows that have an adapter, rounded to dtype; of params it reads x, h,
// rows, k, down, segments and selection. Columns of h from an adapter's R on are not written. With
// multiprocessors above 0 it takes no more than that many of the device's, each to itself, and
// leaves the others to the kernel behind it.
glance_status down_projection_cuda(const LoraParams &params, glance_dtype dtype,
                                   cudaStream_t stream, int32_t multiprocessors = 0) noexcept;

}  // namespace glance
