// The twin of cuda/wgmma.h; what each function does is said there.
#pragma once

#include <cstdint>
#include <type_traits>

#include "tests/emulator/ptx.h"

#define GLANCE_HAS_WGMMA

namespace glance {

GLANCE_DEVICE void wgmma_fence() { glance_emulator::wgmma_fence(); }
GLANCE_DEVICE void wgmma_commit() { glance_emulator::wgmma_commit(); }
template <int kGroups>
GLANCE_DEVICE void wgmma_wait() {
  static_assert(kGroups >= 0 && kGroups <= 7);
  glance_emulator::wgmma_wait(kGroups);
}

template <int kRegisters>
GLANCE_DEVICE void fewer_registers() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
}
template <int kRegisters>
GLANCE_DEVICE void more_registers() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
}

constexpr uint64_t kWgmmaNextK = 2;
GLANCE_DEVICE uint64_t wgmma_operand(const void *shared) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kEightRows = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kUnusedHere = uint64_t{1} << 16;
  return kSwizzle128 | kEightRows | kUnusedHere | ((shared_address(shared) & 0x3FFFFu) >> 4);
}

// 64, 96 or 128 sums a thread are N = 128, 192 or 256.
template <typename T, int kSums>
GLANCE_DEVICE void wgmma(float (&d)[kSums], uint64_t a, uint64_t b, int accumulate) {
  static_assert(kSums == 64 || kSums == 96 || kSums == 128);
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  glance_emulator::WgmmaArguments arguments = {d,          a,         b,
                                               accumulate, 2 * kSums, std::is_same_v<T, f16>};
  glance_emulator::wgmma(arguments);
}

}  // namespace glance
