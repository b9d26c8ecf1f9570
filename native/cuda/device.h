// What every CUDA operation needs around its launch.
#pragma once

#include <cuda_runtime_api.h>
#include <glance/core.h>

#include <cstdint>

namespace glance {

// GLANCE_OK, or GLANCE_CUDA_ERROR with the runtime's own words after what.
glance_status cuda_status(const char *what, cudaError_t error) noexcept;

// Of the calling thread's current device. Each is asked for once.
glance_status multiprocessor_count(int32_t *count) noexcept;
// Of shared memory, that a block may have.
glance_status most_shared_bytes(int32_t *bytes) noexcept;
// 10 * major + minor of its compute capability.
glance_status compute_capability(int32_t *capability) noexcept;

// Whether this library has machine code for sm_90a, without which its kernels for it are empty.
bool built_for_hopper() noexcept;

// A function of the driver that the runtime has loaded, by the version of its interface, or null:
// the library must not need a driver to be loaded itself.
void *driver_function(const char *name, unsigned version) noexcept;

// Makes a device the calling thread's current one and puts the former back.
class DeviceGuard {
 public:
  explicit DeviceGuard(int index) noexcept;
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard &) = delete;
  DeviceGuard &operator=(const DeviceGuard &) = delete;

  glance_status status() const noexcept { return status_; }

 private:
  int former_ = -1;
  glance_status status_;
};

}  // namespace glance
