// Stands in for this folder in a build without CUDA.
#include <glance/core.h>

#include "core/status.h"
#include "cuda/flow_step.h"

namespace glance {
namespace {

glance_status absent(const char *what) noexcept {
  return fail(GLANCE_UNSUPPORTED, "%s: this library was built without CUDA", what);
}

}  // namespace

glance_status flow_step_cuda(const glance_flow_step_args &, void *) noexcept {
  return absent("flow_step");
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
