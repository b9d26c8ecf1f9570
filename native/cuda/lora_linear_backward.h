// lora_linear_backward on CUDA. In a build without CUDA both report GLANCE_UNSUPPORTED.
#pragma once

#include <glance/lora_linear.h>

namespace glance {

// args are checked.
glance_status lora_linear_backward_cuda(const glance_lora_linear_backward_args &args,
                                        void *stream) noexcept;

// The sizes, types and device of args are checked.
glance_status lora_linear_backward_workspace_cuda(const glance_lora_linear_backward_args &args,
                                                  int64_t *bytes) noexcept;

}  // namespace glance
