#include "core/checks.h"

#include <cinttypes>
#include <cmath>

#include "core/status.h"

namespace glance {

glance_status reject(const char *operation, const char *argument, const char *expected,
                     int64_t value) noexcept {
  return fail(GLANCE_INVALID_ARGUMENT, "%s: %s must be %s, not %" PRId64, operation, argument,
              expected, value);
}

glance_status check_finite(const char *operation, const char *argument, float value) noexcept {
  if (std::isfinite(value)) return GLANCE_OK;
  return fail(GLANCE_INVALID_ARGUMENT, "%s: %s must be finite, not %g", operation, argument,
              static_cast<double>(value));
}

glance_status check_epsilon(const char *operation, float epsilon) noexcept {
  if (std::isfinite(epsilon) && epsilon >= 0.0f) return GLANCE_OK;
  return fail(GLANCE_INVALID_ARGUMENT, "%s: epsilon must be finite and 0 or more, not %g",
              operation, static_cast<double>(epsilon));
}

glance_status check_f32_or_bf16(const char *operation, const char *argument,
                                glance_dtype dtype) noexcept {
  if (dtype == GLANCE_F32 || dtype == GLANCE_BF16) return GLANCE_OK;
  return reject(operation, argument, "GLANCE_F32 or GLANCE_BF16", dtype);
}

glance_status check_dtype(const char *operation, const char *argument, glance_dtype dtype,
                          glance_device device) noexcept {
  if (device != GLANCE_CUDA) return check_f32_or_bf16(operation, argument, dtype);
  if (dtype >= GLANCE_F32 && dtype <= GLANCE_F16) return GLANCE_OK;
  return reject(operation, argument, "GLANCE_F32, GLANCE_BF16 or GLANCE_F16", dtype);
}

glance_status check_device(const char *operation, glance_device device, int32_t device_index,
                           int32_t reserved) noexcept {
  if (device != GLANCE_CPU && device != GLANCE_CUDA) {
    return reject(operation, "device", "GLANCE_CPU or GLANCE_CUDA", device);
  }
  if (device_index < 0 || (device == GLANCE_CPU && device_index != 0)) {
    return reject(operation, "device_index", "a CUDA device's number, 0 on CPU", device_index);
  }
  if (reserved != 0) return reject(operation, "reserved", "0", reserved);
  return GLANCE_OK;
}

glance_status check_no_stream(const char *operation, const void *stream) noexcept {
  if (stream == nullptr) return GLANCE_OK;
  return fail(GLANCE_INVALID_ARGUMENT, "%s: stream must be null on CPU", operation);
}

glance_status check_workspace(const char *operation, const void *workspace, int64_t workspace_bytes,
                              int64_t needed_bytes) noexcept {
  if (needed_bytes == 0) return GLANCE_OK;
  if (workspace == nullptr || workspace_bytes < needed_bytes) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: workspace_bytes must be at least %" PRId64 " here, not %" PRId64
                " (glance_%s_workspace says how many)",
                operation, needed_bytes, workspace == nullptr ? 0 : workspace_bytes, operation);
  }
  if (reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: workspace is not aligned to %" PRId64 " bytes",
                operation, kWorkspaceAlignment);
  }
  return GLANCE_OK;
}

glance_status check_on_cpu(const char *operation, glance_device device,
                           const void *stream) noexcept {
  if (device == GLANCE_CPU) return check_no_stream(operation, stream);
  return fail(GLANCE_UNSUPPORTED, "%s: this version runs it on the CPU only", operation);
}

}  // namespace glance
