// flow_step on CUDA. In a build without CUDA it reports GLANCE_UNSUPPORTED.
#pragma once

#include <glance/flow_step.h>

namespace glance {

// args are checked, with at least one element.
glance_status flow_step_cuda(const glance_flow_step_args &args, void *stream) noexcept;

}  // namespace glance
