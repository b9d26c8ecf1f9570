// The twin of cuda/launch.h: the whole grid runs on the CPU before launch() returns.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <type_traits>

#include "tests/emulator/machine.h"

namespace glance {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  unsigned cluster = 1;
  bool overlaps_previous = false;
};

template <typename... Parameters>
cudaError_t launch(const LaunchShape &shape, cudaStream_t, void (*kernel)(Parameters...),
                   Parameters... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...));
  size_t parameter_bytes = 0;
  ((parameter_bytes =
        (parameter_bytes + alignof(Parameters) - 1) / alignof(Parameters) * alignof(Parameters) +
        sizeof(Parameters)),
   ...);
  auto call = [&] { kernel(arguments...); };
  glance_emulator::Grid grid;
  grid.kernel = __PRETTY_FUNCTION__;
  grid.grid = shape.grid;
  grid.block = shape.block;
  grid.shared_bytes = shape.shared_bytes;
  grid.cluster = shape.cluster;
  grid.parameter_bytes = parameter_bytes;
  grid.run = [](void *closure) { (*static_cast<decltype(call) *>(closure))(); };
  grid.closure = &call;
  return glance_emulator::run(grid);
}

static inline unsigned char *shared_memory() { return glance_emulator::shared_memory(); }

}  // namespace glance
