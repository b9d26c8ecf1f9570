// qk_norm_rope on CUDA. In a build without CUDA it reports GLANCE_UNSUPPORTED.
#pragma once

#include <glance/qk_norm_rope.h>

namespace glance {

// args are checked, with at least one element.
glance_status qk_norm_rope_cuda(const glance_qk_norm_rope_args &args, void *stream) noexcept;

}  // namespace glance
