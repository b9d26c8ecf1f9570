// The twin of cuda/ptx.h; what each function does is said there.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "math/element.h"
#include "tests/emulator/machine.h"

#define GLANCE_DEVICE static inline

namespace glance {

GLANCE_DEVICE uint32_t shared_address(const void *shared) {
  return glance_emulator::shared_address(shared);
}

// --- Warps and blocks ---

template <typename T>
GLANCE_DEVICE T shuffle(T value, int lane) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  glance_emulator::ShuffleArguments arguments = {};
  memcpy(&arguments.value, &value, sizeof value);
  arguments.source = static_cast<unsigned>(lane) % 32;
  glance_emulator::shuffle(arguments);
  memcpy(&value, &arguments.value, sizeof value);
  return value;
}
template <typename T>
GLANCE_DEVICE T shuffle_xor(T value, int mask) {
  return shuffle(value, static_cast<int>(glance_emulator::lane()) ^ mask);
}
GLANCE_DEVICE void block_sync() { glance_emulator::block_sync(); }
GLANCE_DEVICE void warp_sync() { glance_emulator::warp_sync(); }
GLANCE_DEVICE void named_sync(int id, int threads) { glance_emulator::named_sync(id, threads); }
GLANCE_DEVICE void named_arrive(int id, int threads) { glance_emulator::named_arrive(id, threads); }

// --- Stores of 16 and 8 bytes, aligned to as many, to global memory ---

GLANCE_DEVICE void store_16(void *global, const uint32_t (&words)[4]) {
  memcpy(__builtin_assume_aligned(global, 16), words, sizeof words);
}
GLANCE_DEVICE void store_8(void *global, const uint32_t (&words)[2]) {
  memcpy(__builtin_assume_aligned(global, 8), words, sizeof words);
}

// --- Asynchronous copies of 16 bytes to shared memory (sm_80) ---

GLANCE_DEVICE void copy_async_16(void *shared, const void *global, int bytes) {
  glance_emulator::copy_async_16(shared, global, bytes);
}
GLANCE_DEVICE void copy_async_commit() { glance_emulator::copy_async_commit(); }
template <int kGroups>
GLANCE_DEVICE void copy_async_wait() {
  static_assert(kGroups >= 0);
  glance_emulator::copy_async_wait(kGroups);
}

// --- Warp-level matrix instructions (sm_80) ---

GLANCE_DEVICE void load_matrices(uint32_t (&r)[4], const void *shared_row) {
  glance_emulator::MatricesArguments arguments = {shared_row, r};
  glance_emulator::load_matrices(arguments, false);
}
GLANCE_DEVICE void load_matrices_transposed(uint32_t (&r)[4], const void *shared_row) {
  glance_emulator::MatricesArguments arguments = {shared_row, r};
  glance_emulator::load_matrices(arguments, true);
}

template <typename T>
GLANCE_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  glance_emulator::MmaArguments arguments = {d, a, {b0, b1}};
  if constexpr (std::is_same_v<T, bf16>) {
    glance_emulator::mma_bf16(arguments);
  } else {
    glance_emulator::mma_f16(arguments);
  }
}

template <typename T>
GLANCE_DEVICE uint32_t pack_two(float first, float second) {
  return uint32_t{from_f32<T>(first).bits} | uint32_t{from_f32<T>(second).bits} << 16;
}

// --- Overlap of kernels that follow each other (sm_90; elsewhere there is none) ---

GLANCE_DEVICE void grid_dependency_wait() { glance_emulator::grid_dependency_wait(); }
GLANCE_DEVICE void grid_dependency_launch() {}

// --- Clusters (sm_90) ---

GLANCE_DEVICE uint32_t cluster_rank() { return glance_emulator::cluster_rank(); }
GLANCE_DEVICE void cluster_sync() { glance_emulator::cluster_sync(); }

// --- Barriers in shared memory (sm_90) ---

typedef uint64_t Mbarrier;

GLANCE_DEVICE void mbarrier_init(Mbarrier *barrier, uint32_t arrivals) {
  glance_emulator::mbarrier_init(barrier, arrivals);
}
GLANCE_DEVICE void mbarrier_init_fence() {}
GLANCE_DEVICE void mbarrier_arrive_expect(Mbarrier *barrier, uint32_t bytes) {
  glance_emulator::mbarrier_arrive_expect(barrier, bytes);
}
GLANCE_DEVICE void mbarrier_arrive(Mbarrier *barrier) { glance_emulator::mbarrier_arrive(barrier); }
GLANCE_DEVICE void mbarrier_arrive_at(Mbarrier *barrier, uint32_t block) {
  glance_emulator::mbarrier_arrive_at(barrier, block);
}
GLANCE_DEVICE void mbarrier_wait(Mbarrier *barrier, uint32_t parity) {
  glance_emulator::mbarrier_wait(barrier, parity);
}

// Not looked at: that it is missing does not show here.
GLANCE_DEVICE void shared_writes_to_async() {}

// --- Tensor copies (sm_90) ---

typedef CUtensorMap TensorMap;

GLANCE_DEVICE void tensor_prefetch(const TensorMap *) {}
GLANCE_DEVICE void tensor_load(void *shared, const TensorMap *map, Mbarrier *barrier, int column,
                               int row) {
  glance_emulator::tensor_load(shared, map, barrier, column, row,
                               1u << glance_emulator::cluster_rank());
}
GLANCE_DEVICE void tensor_load_multicast(void *shared, const TensorMap *map, Mbarrier *barrier,
                                         int column, int row, uint16_t blocks) {
  glance_emulator::tensor_load(shared, map, barrier, column, row, blocks);
}

}  // namespace glance
