// The instructions that CUDA C++ has no name for, each as one function, in the words of the PTX ISA
// manual. tests/emulator/ptx.h has the same functions for the CPU.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/launch.h"
#include "math/element.h"

#ifdef GLANCE_EMULATED_CUDA
#include "tests/emulator/ptx.h"
#else

#include <cuda.h>

#define GLANCE_DEVICE static __device__ __forceinline__

namespace glance {

GLANCE_DEVICE uint32_t shared_address(const void *shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// --- Warps and blocks ---

template <typename T>
GLANCE_DEVICE T shuffle(T value, int lane) {
  return __shfl_sync(0xFFFFFFFFu, value, lane);
}
template <typename T>
GLANCE_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xFFFFFFFFu, value, mask);
}
// Waits for all threads of the block; makes their memory accesses before it visible to each other.
GLANCE_DEVICE void block_sync() { __syncthreads(); }
GLANCE_DEVICE void warp_sync() { __syncwarp(); }

// Waits for `threads` threads (a multiple of 32) at the barrier `id`, 1 to 15.
GLANCE_DEVICE void named_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// --- Stores of 16 and 8 bytes, aligned to as many, to global memory ---

// The compiler takes the store of a vector apart at times.
GLANCE_DEVICE void store_16(void *global, const uint32_t (&words)[4]) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(global), "r"(words[0]),
               "r"(words[1]), "r"(words[2]), "r"(words[3])
               : "memory");
}
GLANCE_DEVICE void store_8(void *global, const uint32_t (&words)[2]) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(global), "r"(words[0]), "r"(words[1])
               : "memory");
}

// Counts as one of those threads, and goes on.
GLANCE_DEVICE void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// --- Asynchronous copies of 16 bytes to shared memory (sm_80) ---

// Copies the first `bytes` (0 to 16) of 16 and fills the rest with zeros. Both aligned to 16.
GLANCE_DEVICE void copy_async_16(void *shared, const void *global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
GLANCE_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kGroups of this thread's latest groups are not done.
template <int kGroups>
GLANCE_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

// --- Warp-level matrix instructions (sm_80) ---

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8 and
// gets of matrix i, in r[i], columns 2 (l % 4) and the next of row l / 4.
GLANCE_DEVICE void load_matrices(uint32_t (&r)[4], const void *shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}
// The same, of the transposed matrices.
GLANCE_DEVICE void load_matrices_transposed(uint32_t (&r)[4], const void *shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared_row))
               : "memory");
}

// d += a b, m16n8k16. Lane l, g = l / 4, t = l % 4 (2t also means the element after it):
//   a: (g, 2t) (g + 8, 2t) (g, 2t + 8) (g + 8, 2t + 8); b, K x N: (2t, g) (2t + 8, g);
//   d: (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1).
template <typename T>
GLANCE_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  if constexpr (std::is_same_v<T, bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// Two f32 rounded to nearest and packed, the first in the lower half.
template <typename T>
GLANCE_DEVICE uint32_t pack_two(float first, float second) {
  uint32_t packed;
  if constexpr (std::is_same_v<T, bf16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  }
  return packed;
}

// --- Overlap of kernels that follow each other (sm_90; elsewhere there is none) ---

// Waits until the kernel before this one on the stream is done and its writes can be seen.
GLANCE_DEVICE void grid_dependency_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The kernel behind this one on the stream may start once every block has come here.
GLANCE_DEVICE void grid_dependency_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// --- Clusters (sm_90) ---

GLANCE_DEVICE uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Waits for all threads of the cluster, shared memory of all its blocks included.
GLANCE_DEVICE void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

// --- Barriers in shared memory (sm_90) ---

typedef uint64_t Mbarrier;

// A phase ends when `arrivals` arrivals have come and all bytes it expects.
GLANCE_DEVICE void mbarrier_init(Mbarrier *barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
// Makes initialised barriers visible to the cluster and to the copy engine, before cluster_sync.
GLANCE_DEVICE void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Arrives, and has the phase expect so many bytes more.
GLANCE_DEVICE void mbarrier_arrive_expect(Mbarrier *barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
GLANCE_DEVICE void mbarrier_arrive(Mbarrier *barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// Arrives at the barrier in the same place of another block of the cluster, or of this one. Only
// this block sees what this thread wrote before: a release to the cluster would be a fence of the
// whole device, and it is for slots that were read, not written.
GLANCE_DEVICE void mbarrier_arrive_at(Mbarrier *barrier, uint32_t block) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(block)
      : "memory");
}
// Waits for the end of the phase of this parity: 0 for the first, 1 for the second, 0 for ... What
// threads of this block wrote before they arrived, and what copies wrote, can be seen then.
GLANCE_DEVICE void mbarrier_wait(Mbarrier *barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Makes this thread's writes to shared memory visible to the copy engine and to wgmma.
GLANCE_DEVICE void shared_writes_to_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// --- Tensor copies (sm_90) ---

// A box of a matrix: rows of 64 elements, in shared memory at 128 bytes, 128-byte swizzle.
typedef CUtensorMap TensorMap;

GLANCE_DEVICE void tensor_prefetch(const TensorMap *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// Copies the box whose first element is (row, column); what lies outside the matrix becomes zero.
// The barrier counts the box's bytes.
GLANCE_DEVICE void tensor_load(void *shared, const TensorMap *map, Mbarrier *barrier, int column,
                               int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(row)
      : "memory");
}
// The same, to the same place in every block of the cluster whose bit is set in `blocks`, counted
// by the barrier in the same place of each.
GLANCE_DEVICE void tensor_load_multicast(void *shared, const TensorMap *map, Mbarrier *barrier,
                                         int column, int row, uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(column), "r"(row)
      : "memory");
}

}  // namespace glance
#endif
