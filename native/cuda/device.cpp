#include "cuda/device.h"

#include <cstdio>

#include "core/status.h"

namespace glance {

glance_status cuda_status(const char *what, cudaError_t error) noexcept {
  if (error == cudaSuccess) return GLANCE_OK;
  return fail(GLANCE_CUDA_ERROR, "%s: %s (%s)", what, cudaGetErrorString(error),
              cudaGetErrorName(error));
}

DeviceGuard::DeviceGuard(int index) noexcept {
  int current = 0;
  status_ = cuda_status("cudaGetDevice", cudaGetDevice(&current));
  if (status_ != GLANCE_OK || current == index) return;
  status_ = cuda_status("cudaSetDevice", cudaSetDevice(index));
  if (status_ == GLANCE_OK) former_ = current;
}

DeviceGuard::~DeviceGuard() {
  if (former_ >= 0) cudaSetDevice(former_);
}

}  // namespace glance

using glance::cuda_status;
using glance::fail;

extern "C" const char *glance_cuda_architectures(void) { return GLANCE_CUDA_ARCHITECTURES; }

extern "C" glance_status glance_cuda_query(int32_t *driver_version, int32_t *device_count) {
  if (driver_version == nullptr || device_count == nullptr) {
    return fail(GLANCE_INVALID_ARGUMENT, "cuda_query: driver_version or device_count is null");
  }
  *driver_version = 0;
  *device_count = 0;
  int driver = 0;
  const glance_status status = cuda_status("cudaDriverGetVersion", cudaDriverGetVersion(&driver));
  if (status != GLANCE_OK) return status;
  if (driver == 0) {
    return fail(GLANCE_UNSUPPORTED, "no CUDA driver is installed (libcuda.so.1 was not found)");
  }
  *driver_version = driver;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice) return GLANCE_OK;
  if (error == cudaErrorInsufficientDriver) {
    return fail(GLANCE_UNSUPPORTED, "the CUDA driver supports CUDA %d.%d, this build needs %d.%d",
                driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                CUDART_VERSION % 1000 / 10);
  }
  if (error == cudaSuccess) *device_count = count;
  return cuda_status("cudaGetDeviceCount", error);
}

extern "C" glance_status glance_cuda_device_info(int32_t index, glance_cuda_device *device) {
  if (device == nullptr) {
    return fail(GLANCE_INVALID_ARGUMENT, "cuda_device_info: device is null");
  }
  if (device->struct_size != static_cast<int64_t>(sizeof *device)) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "cuda_device_info: struct_size must be sizeof(glance_cuda_device) of this ABI");
  }
  cudaDeviceProp properties;
  const glance_status status =
      cuda_status("cudaGetDeviceProperties", cudaGetDeviceProperties(&properties, index));
  if (status != GLANCE_OK) return status;
  device->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  device->compute_major = properties.major;
  device->compute_minor = properties.minor;
  std::snprintf(device->name, sizeof device->name, "%s", properties.name);
  return GLANCE_OK;
}
