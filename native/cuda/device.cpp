#include "cuda/device.h"

#include <cuda.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "core/status.h"

namespace glance {

glance_status cuda_status(const char *what, cudaError_t error) noexcept {
  if (error == cudaSuccess) return GLANCE_OK;
  return fail(GLANCE_CUDA_ERROR, "%s: %s (%s)", what, cudaGetErrorString(error),
              cudaGetErrorName(error));
}

namespace {

// Attributes of the first devices of a machine; 0 is not asked yet.
constexpr int kKnownDevices = 64;

glance_status attribute_of_current(std::atomic<int32_t> (&known)[kKnownDevices],
                                   cudaDeviceAttr attribute, int32_t *value) noexcept {
  int device = 0;
  glance_status status = cuda_status("cudaGetDevice", cudaGetDevice(&device));
  if (status != GLANCE_OK) return status;
  const bool kept = device < kKnownDevices;
  *value = kept ? known[device].load(std::memory_order_relaxed) : 0;
  if (*value != 0) return GLANCE_OK;
  int asked = 0;
  status = cuda_status("cudaDeviceGetAttribute", cudaDeviceGetAttribute(&asked, attribute, device));
  *value = asked;
  if (kept) known[device].store(asked, std::memory_order_relaxed);
  return status;
}

}  // namespace

glance_status multiprocessor_count(int32_t *count) noexcept {
  static std::atomic<int32_t> known[kKnownDevices];
  return attribute_of_current(known, cudaDevAttrMultiProcessorCount, count);
}

glance_status most_shared_bytes(int32_t *bytes) noexcept {
  static std::atomic<int32_t> known[kKnownDevices];
  return attribute_of_current(known, cudaDevAttrMaxSharedMemoryPerBlockOptin, bytes);
}

glance_status compute_capability(int32_t *capability) noexcept {
  static std::atomic<int32_t> majors[kKnownDevices];
  static std::atomic<int32_t> minors[kKnownDevices];
  int32_t major = 0;
  int32_t minor = 0;
  glance_status status = attribute_of_current(majors, cudaDevAttrComputeCapabilityMajor, &major);
  if (status == GLANCE_OK) {
    status = attribute_of_current(minors, cudaDevAttrComputeCapabilityMinor, &minor);
  }
  *capability = 10 * major + minor;
  return status;
}

bool built_for_hopper() noexcept {
#ifdef GLANCE_EMULATED_CUDA
  return true;
#else
  static const bool built = std::strstr(GLANCE_CUDA_ARCHITECTURES, "90a") != nullptr;
  return built;
#endif
}

namespace {

// Whether the device has a context. Choosing one without makes one: hundreds of megabytes.
bool in_use(int device) noexcept {
  using Query = decltype(&cuDevicePrimaryCtxGetState);
  static const auto query =
      reinterpret_cast<Query>(driver_function("cuDevicePrimaryCtxGetState", 7000));
  unsigned flags = 0;
  int active = 1;
  return query == nullptr || query(device, &flags, &active) != CUDA_SUCCESS || active != 0;
}

}  // namespace

void *driver_function(const char *name, unsigned version) noexcept {
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
  return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? function : nullptr;
}

DeviceGuard::DeviceGuard(int index) noexcept {
  int current = 0;
  status_ = cuda_status("cudaGetDevice", cudaGetDevice(&current));
  if (status_ != GLANCE_OK) return;
  // Even if it is the current one already: that alone gives a new thread the device's context,
  // which functions of the driver need.
  status_ = cuda_status("cudaSetDevice", cudaSetDevice(index));
  if (status_ == GLANCE_OK && current != index && in_use(current)) former_ = current;
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
