// lora_linear on CUDA. In a build without CUDA both report GLANCE_UNSUPPORTED.
#pragma once

#include <glance/lora_linear.h>

namespace glance {

// args are checked, with at least one row.
glance_status lora_linear_cuda(const glance_lora_linear_args &args, void *stream) noexcept;

// The same, but for pointers to tensors and the workspace.
glance_status lora_linear_workspace_cuda(const glance_lora_linear_args &args,
                                         int64_t *bytes) noexcept;

}  // namespace glance
