// modulated_norm on CUDA. In a build without CUDA it reports GLANCE_UNSUPPORTED.
#pragma once

#include <glance/modulated_norm.h>

namespace glance {

// args are checked, with at least one element.
glance_status modulated_norm_cuda(const glance_modulated_norm_args &args, void *stream) noexcept;

}  // namespace glance
