// The memory of a call where the call runs. Tests keep their tensors and argument structs in the
// host's memory; for a call on CUDA every buffer is copied to the device, the pointers of a copy of
// the struct are exchanged for the device's, and afterwards everything is copied back, inputs too,
// so that what a call wrote and should not have shows as it does on the CPU.
#pragma once

#include <glance/core.h>
#include <gtest/gtest.h>

#include <cstring>
#include <utility>
#include <vector>

#include "tests/device_memory.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace glance_test {

// Device memory with some bytes of the host's in it.
class DeviceCopy {
 public:
  DeviceCopy() = default;
  explicit DeviceCopy(const std::vector<unsigned char> &bytes)
      : memory_(device_allocate(bytes.size())) {
    upload(memory_, bytes.data(), bytes.size());
  }
  ~DeviceCopy() {
    if (memory_ != nullptr) device_free(memory_);
  }
  DeviceCopy(DeviceCopy &&other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceCopy &operator=(DeviceCopy &&other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }

  unsigned char *data() const { return static_cast<unsigned char *>(memory_); }

 private:
  void *memory_ = nullptr;
};

// Buffers where a call finds them: on the CPU the buffers themselves.
class Mirror {
 public:
  explicit Mirror(const std::vector<Buffer *> &buffers) {
    if (!on_cuda()) return;
    for (Buffer *buffer : buffers) copies_.push_back({buffer, DeviceCopy(buffer->bytes)});
  }

  // A pointer into a buffer becomes one to the same place on the device, which is as far from an
  // alignment of 16 bytes; null stays, and so does a pointer elsewhere.
  template <typename... Ts>
  void place(Ts **...pointers) const {
    (place_one(pointers), ...);
  }

  // To be called with what the call came to: waits for it and copies everything back.
  glance_status done(glance_status status) const {
    if (!on_cuda()) return status;
    const std::string error = synchronize();
    EXPECT_EQ(error, "") << "where the work ran";
    for (const Copy &copy : copies_) {
      download(copy.buffer->bytes.data(), copy.device.data(), copy.buffer->bytes.size());
    }
    return status;
  }

 private:
  struct Copy {
    Buffer *buffer;
    DeviceCopy device;
  };

  template <typename T>
  void place_one(T **pointer) const {
    const auto address = reinterpret_cast<uintptr_t>(*pointer);
    for (const Copy &copy : copies_) {
      const auto begin = reinterpret_cast<uintptr_t>(copy.buffer->bytes.data());
      if (address < begin || address >= begin + copy.buffer->bytes.size()) continue;
      *pointer = reinterpret_cast<T *>(copy.device.data() + (address - begin));
      return;
    }
  }

  std::vector<Copy> copies_;
};

// Poisoned device memory of exactly the size that a call asks for, and a guard behind it.
class Workspace {
 public:
  explicit Workspace(int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    if (bytes_ > 0) memory_ = DeviceCopy(std::vector<unsigned char>(bytes_ + kGuard, kPoison));
  }

  void *data() const { return memory_.data(); }

  // Once the call is done.
  bool guard_untouched() const {
    if (bytes_ == 0) return true;
    std::vector<unsigned char> guard(kGuard);
    download(guard.data(), memory_.data() + bytes_, kGuard);
    return guard == std::vector<unsigned char>(kGuard, kPoison);
  }

 private:
  static constexpr size_t kGuard = 256;
  // NaN in every type.
  static constexpr unsigned char kPoison = 0xFF;

  size_t bytes_;
  DeviceCopy memory_;
};

}  // namespace glance_test
