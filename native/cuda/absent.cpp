// Stands in for this folder in a build without CUDA.
#include <glance/core.h>

#include "core/status.h"
#include "cuda/flow_step.h"
#include "cuda/gated_residual.h"
#include "cuda/lora_linear.h"
#include "cuda/lora_linear_backward.h"
#include "cuda/modulated_norm.h"
#include "cuda/qk_norm_rope.h"

namespace glance {
namespace {

glance_status absent(const char *what) noexcept {
  return fail(GLANCE_UNSUPPORTED, "%s: this library was built without CUDA", what);
}

}  // namespace

glance_status flow_step_cuda(const glance_flow_step_args &, void *) noexcept {
  return absent("flow_step");
}

glance_status gated_residual_cuda(const glance_gated_residual_args &, void *) noexcept {
  return absent("gated_residual");
}

glance_status modulated_norm_cuda(const glance_modulated_norm_args &, void *) noexcept {
  return absent("modulated_norm");
}

glance_status qk_norm_rope_cuda(const glance_qk_norm_rope_args &, void *) noexcept {
  return absent("qk_norm_rope");
}

glance_status lora_linear_cuda(const glance_lora_linear_args &, void *) noexcept {
  return absent("lora_linear");
}

glance_status lora_linear_workspace_cuda(const glance_lora_linear_args &, int64_t *) noexcept {
  return absent("lora_linear");
}

glance_status lora_linear_backward_cuda(const glance_lora_linear_backward_args &,
                                        void *) noexcept {
  return absent("lora_linear_backward");
}

glance_status lora_linear_backward_workspace_cuda(const glance_lora_linear_backward_args &,
                                                  int64_t *) noexcept {
  return absent("lora_linear_backward");
}

}  // namespace glance

extern "C" const char *glance_cuda_architectures(void) { return ""; }

extern "C" glance_status glance_cuda_query(int32_t *driver_version, int32_t *device_count) {
  if (driver_version != nullptr) *driver_version = 0;
  if (device_count != nullptr) *device_count = 0;
  return glance::absent("cuda_query");
}

extern "C" glance_status glance_cuda_device_info(int32_t, glance_cuda_device *) {
  return glance::absent("cuda_device_info");
}
