// lora_linear by NVIDIA's cuBLASLt, in the form with the reduction dimension extended:
//
//   y = epilogue([x h] [W B]^T + b)
//
// x | h and W | B are joined in the workspace, for each linear and each segment's adapter, and cost
// a copy each: this way is there for comparison and for what the kernels may one day not take. A
// linear that no adapter touches is multiplied where it lies. cuBLASLt adds bias and GELU itself.
// For a gated residual it writes the sums in f32, so that they are not rounded before the residual
// is added, and a kernel does the rest.
//
// The library is never linked: it is looked for when it is first asked for. It chooses an algorithm
// by the number of rows, so that, unlike with the kernels, a row's last bit may depend on how many
// there are. The first call on a device makes the library's handle, which a graph cannot capture.
#pragma once

#include <glance/lora_linear.h>

#include "cuda/lora_params.h"

namespace glance {

// params.h is filled, and workspace has cublaslt_workspace_bytes, aligned to 256; it begins behind
// h if that is there as well. GLANCE_UNSUPPORTED, with what was looked for, without the library or
// its header, with params.selection, and where the library has no algorithm.
glance_status lora_linear_cublaslt(const LoraParams &params, glance_dtype dtype, void *workspace,
                                   int64_t workspace_bytes, cudaStream_t stream) noexcept;

// What it needs, without h. Reads no pointer. 0 in a build without the library's header.
int64_t cublaslt_workspace_bytes(const LoraParams &params, glance_dtype dtype) noexcept;

}  // namespace glance
