#include "tests/device_memory.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>

namespace glance_test {
namespace {

void demand(const char *what, cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::abort();
}

}  // namespace

void *device_allocate(size_t bytes) {
  void *memory = nullptr;
  demand("cudaMalloc", cudaMalloc(&memory, bytes > 0 ? bytes : 1));
  return memory;
}

void device_free(void *memory) { demand("cudaFree", cudaFree(memory)); }

void upload(void *device, const void *host, size_t bytes) {
  demand("cudaMemcpy to the device", cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
}

void download(void *host, const void *device, size_t bytes) {
  demand("cudaMemcpy from the device", cudaMemcpy(host, device, bytes, cudaMemcpyDeviceToHost));
}

std::string synchronize() {
  cudaError_t error = cudaDeviceSynchronize();
  const cudaError_t earlier = cudaGetLastError();
  if (error == cudaSuccess) error = earlier;
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

}  // namespace glance_test
