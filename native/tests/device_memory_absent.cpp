// Stands in for device_memory.cpp in a build without CUDA, where no test asks for the device.
#include <cstdlib>

#include "tests/device_memory.h"

namespace glance_test {

void *device_allocate(size_t) { std::abort(); }

void device_free(void *) { std::abort(); }

void upload(void *, const void *, size_t) { std::abort(); }

void download(void *, const void *, size_t) { std::abort(); }

std::string synchronize() { std::abort(); }

}  // namespace glance_test
