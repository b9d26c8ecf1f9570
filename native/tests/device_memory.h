// Memory of the CUDA device that the tests run on, or of the emulator that stands in for one. Any
// failure here ends the program: nothing after it could be believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace glance_test {

// Aligned to 256 bytes.
void *device_allocate(size_t bytes);
void device_free(void *memory);
void upload(void *device, const void *host, size_t bytes);
void download(void *host, const void *device, size_t bytes);

// Waits for all work of the device. Empty, or the error of this or an earlier call.
std::string synchronize();

}  // namespace glance_test
