// Checks on an operation's numbers, shared by the operations. Memory: core/matrix.h.
#pragma once

#include <glance/core.h>

#include <cstdint>

namespace glance {

// "operation: argument must be expected, not value", as GLANCE_INVALID_ARGUMENT.
glance_status reject(const char *operation, const char *argument, const char *expected,
                     int64_t value) noexcept;

glance_status check_finite(const char *operation, const char *argument, float value) noexcept;

// Finite and 0 or more.
glance_status check_epsilon(const char *operation, float epsilon) noexcept;

glance_status check_f32_or_bf16(const char *operation, const char *argument,
                                glance_dtype dtype) noexcept;

// F32 or BF16, and F16 where device is CUDA.
glance_status check_dtype(const char *operation, const char *argument, glance_dtype dtype,
                          glance_device device) noexcept;

// What most argument structs end with.
glance_status check_device(const char *operation, glance_device device, int32_t device_index,
                           int32_t reserved) noexcept;

// For the CPU's side of an operation, which takes no stream.
glance_status check_no_stream(const char *operation, const void *stream) noexcept;

// For CUDA's side of an operation: at least this much workspace, aligned to kWorkspaceAlignment.
constexpr int64_t kWorkspaceAlignment = 256;
glance_status check_workspace(const char *operation, const void *workspace, int64_t workspace_bytes,
                              int64_t needed_bytes) noexcept;

// For an operation without code for CUDA: GLANCE_UNSUPPORTED there, and no stream on the CPU.
glance_status check_on_cpu(const char *operation, glance_device device,
                           const void *stream) noexcept;

}  // namespace glance
