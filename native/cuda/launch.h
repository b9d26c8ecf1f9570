// How kernels are launched, and what they have in place of CUDA's own syntax for it. The tests
// compile the kernels a second time, against tests/emulator, which runs them on the CPU.
//
// Kernels keep to this: shared memory only through shared_memory(), no static __shared__; no warp
// or block function but those of ptx.h.
#pragma once

#ifdef GLANCE_EMULATED_CUDA
#include "tests/emulator/launch.h"
#else

#include <cuda_runtime.h>

#include <cstddef>

namespace glance {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  // Blocks of a cluster, side by side in x.
  unsigned cluster = 1;
  // Starts before the stream's kernel before it is done; grid_dependency_wait() waits for that.
  bool overlaps_previous = false;
};

template <typename... Parameters>
cudaError_t launch(const LaunchShape &shape, cudaStream_t stream, void (*kernel)(Parameters...),
                   Parameters... arguments) {
  constexpr size_t kWithoutAsking = 48 << 10;
  if (shape.shared_bytes > kWithoutAsking) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (shape.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = shape.cluster;
    attributes[count].val.clusterDim.y = 1;
    attributes[count].val.clusterDim.z = 1;
    ++count;
  }
  if (shape.overlaps_previous) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count].val.programmaticStreamSerializationAllowed = 1;
    ++count;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  void *pointers[] = {&arguments...};
  return cudaLaunchKernelExC(&config, reinterpret_cast<const void *>(kernel), pointers);
}

// The block's shared memory, aligned to 1024 bytes.
__device__ __forceinline__ unsigned char *shared_memory() {
  extern __shared__ __align__(1024) unsigned char memory[];
  return memory;
}

}  // namespace glance
#endif
