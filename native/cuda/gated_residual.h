// gated_residual on CUDA. In a build without CUDA it reports GLANCE_UNSUPPORTED.
#pragma once

#include <glance/gated_residual.h>

namespace glance {

// args are checked, with at least one element.
glance_status gated_residual_cuda(const glance_gated_residual_args &args, void *stream) noexcept;

}  // namespace glance
