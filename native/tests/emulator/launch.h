// The twin of cuda/launch.h. A kernel runs when somebody asks for its results or when the next one
// starts: see grid_dependency_wait in machine.h.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <tuple>
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
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  glance_emulator::Grid grid;
  grid.kernel = __PRETTY_FUNCTION__;
  grid.grid = shape.grid;
  grid.block = shape.block;
  grid.shared_bytes = shape.shared_bytes;
  grid.cluster = shape.cluster;
  grid.overlaps_previous = shape.overlaps_previous;
  grid.parameter_bytes = parameter_bytes;
  grid.call = std::make_shared<Call>(Call{kernel, std::tuple<Parameters...>(arguments...)});
  grid.run = [](const void *call) {
    const Call &own = *static_cast<const Call *>(call);
    std::apply(own.kernel, own.arguments);
  };
  return glance_emulator::launch(grid);
}

static inline unsigned char *shared_memory() { return glance_emulator::shared_memory(); }

}  // namespace glance
