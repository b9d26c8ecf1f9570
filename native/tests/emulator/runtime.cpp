// The runtime's and the driver's functions.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "tests/emulator/machine.h"
#include "tests/emulator/state.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes)
#endif

using glance_emulator::device;
using glance_emulator::finish_launches;
using glance_emulator::misuse;
using glance_emulator::poison;

namespace {

constexpr int kVersion = CUDART_VERSION;
// cudaMalloc's alignment.
constexpr size_t kGuardBytes = 256;
constexpr unsigned char kGuard = 0xA5;

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t keep(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

std::mutex allocations_lock;

std::map<void *, size_t> &allocations() {
  static auto *all = new std::map<void *, size_t>;
  return *all;
}

}  // namespace

const char *cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
  }
  return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotSupported:
      return "operation not supported";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaDriverGetVersion(int *version) {
  *version = kVersion;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = kVersion;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *index) {
  *index = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
  return keep(index == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int index) {
  if (index != 0) return keep(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated");
  properties->totalGlobalMem = size_t{8} << 30;
  int shared = 0;
  cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
  properties->sharedMemPerBlockOptin = static_cast<size_t>(shared);
  properties->major = device().compute_major;
  properties->minor = device().compute_minor;
  properties->multiProcessorCount = device().multiprocessors;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int index) {
  if (index != 0) return keep(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = device().multiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = device().compute_major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = device().compute_minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = (device().compute_major >= 9 ? 227 : 163) << 10;
      return cudaSuccess;
  }
  return keep(cudaErrorInvalidValue);
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult *result) {
  const bool known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void *>(&cuTensorMapEncodeTiled) : nullptr;
  if (result != nullptr) {
    *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  }
  return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  const size_t whole = (bytes + kGuardBytes - 1) / kGuardBytes * kGuardBytes;
  void *place = nullptr;
  if (posix_memalign(&place, kGuardBytes, whole + 2 * kGuardBytes) != 0) {
    return keep(cudaErrorMemoryAllocation);
  }
  unsigned char *begin = static_cast<unsigned char *>(place) + kGuardBytes;
  std::memset(begin - kGuardBytes, kGuard, kGuardBytes);
  poison(begin, bytes);
  std::memset(begin + bytes, kGuard, whole + kGuardBytes - bytes);
  ASAN_POISON_MEMORY_REGION(begin - kGuardBytes, kGuardBytes);
  ASAN_POISON_MEMORY_REGION(begin + bytes, whole + kGuardBytes - bytes);
  const std::lock_guard<std::mutex> lock(allocations_lock);
  allocations()[begin] = bytes;
  *memory = begin;
  return cudaSuccess;
}

cudaError_t cudaFree(void *memory) {
  finish_launches();
  if (memory == nullptr) return cudaSuccess;
  size_t bytes = 0;
  {
    const std::lock_guard<std::mutex> lock(allocations_lock);
    const auto found = allocations().find(memory);
    if (found == allocations().end()) return keep(cudaErrorInvalidValue);
    bytes = found->second;
    allocations().erase(found);
  }
  unsigned char *begin = static_cast<unsigned char *>(memory);
  ASAN_UNPOISON_MEMORY_REGION(begin - kGuardBytes, bytes + 2 * kGuardBytes);
  for (size_t i = 0; i < kGuardBytes; ++i) {
    if (begin[bytes + i] != kGuard || (begin - kGuardBytes)[i] != kGuard) {
      misuse("memory was written outside the %zu bytes allocated for it", bytes);
    }
  }
  std::free(begin - kGuardBytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
  finish_launches();
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes) {
  finish_launches();
  if (bytes > 0) std::memset(memory, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t) {
  return cudaMemset(memory, value, bytes);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  *stream = nullptr;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  finish_launches();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                void *global, const cuuint64_t *dimensions,
                                const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *element_strides, CUtensorMapInterleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                                CUtensorMapFloatOOBfill) {
  constexpr uint32_t kMostBox = 256;
  constexpr uint64_t kMostDimension = uint64_t{1} << 32;
  constexpr uint64_t kMostStride = uint64_t{1} << 40;
  if (rank != 2) return CUDA_ERROR_NOT_SUPPORTED;
  const uint32_t element = type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4 : 2;
  const uint32_t box_bytes = box[0] * element;
  const bool fits = reinterpret_cast<uintptr_t>(map) % 64 == 0 &&
                    reinterpret_cast<uintptr_t>(global) % 16 == 0 && strides[0] % 16 == 0 &&
                    strides[0] < kMostStride && strides[0] >= dimensions[0] * element &&
                    dimensions[0] >= 1 && dimensions[0] <= kMostDimension && dimensions[1] >= 1 &&
                    dimensions[1] <= kMostDimension && box[0] >= 1 && box[0] <= kMostBox &&
                    box[1] >= 1 && box[1] <= kMostBox && box_bytes % 16 == 0 &&
                    element_strides[0] == 1 && element_strides[1] == 1;
  constexpr uint32_t kMostSwizzled[] = {UINT32_MAX, 32, 64, 128};
  if (!fits || box_bytes > kMostSwizzled[swizzle]) return CUDA_ERROR_INVALID_VALUE;
  *map = {};
  map->global = static_cast<const unsigned char *>(global);
  map->columns = dimensions[0];
  map->rows = dimensions[1];
  map->row_bytes = strides[0];
  map->box_columns = box[0];
  map->box_rows = box[1];
  map->element_bytes = element;
  map->swizzle = swizzle;
  map->encoded = 1;
  return CUDA_SUCCESS;
}
