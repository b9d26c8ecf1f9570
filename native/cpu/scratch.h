// Memory that a thread keeps between calls, so that small operations do not pay for an allocation.
#pragma once

#include <cstddef>
#include <cstdlib>

namespace glance {

class Scratch {
 public:
  ~Scratch() { std::free(memory_); }

  // At least bytes of memory, aligned to a cache line, with any contents; null if there is none.
  // What an earlier call got is gone.
  char *reserve(size_t bytes) noexcept {
    if (bytes > size_) {
      std::free(memory_);
      const size_t rounded = (bytes + kLine - 1) / kLine * kLine;
      memory_ = static_cast<char *>(std::aligned_alloc(kLine, rounded));
      size_ = memory_ == nullptr ? 0 : rounded;
    }
    return memory_;
  }

 private:
  static constexpr size_t kLine = 64;
  char *memory_ = nullptr;
  size_t size_ = 0;
};

}  // namespace glance
