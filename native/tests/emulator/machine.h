// A machine that runs CUDA kernels on the CPU, to find mistakes in their indexing, synchronisation
// and arithmetic where there is no GPU.
//
// Each thread of a block is a fiber, which runs until it has to wait for others; which one goes on
// then is drawn at random. What a GPU does later, or perhaps later, happens here as late as it may,
// and until then the place it goes to holds NaN patterns. What a GPU does not define, and a wait
// that never ends, stop the program with a message.
//
// The functions that kernels call are in launch.h, ptx.h and wgmma.h of this folder; here is what
// they and the tests need.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace glance_emulator {

// --- The device ---

struct Device {
  int compute_major = 9;
  int compute_minor = 0;
  // Few, so that a persistent kernel's blocks walk several tiles.
  int multiprocessors = 6;
};
// The only device; a test may change it. The environment variable GLANCE_EMULATED_CAPABILITY sets
// another compute capability, 80 for 8.0.
Device &device();

// Draws everything from this seed from here on. Without it: from the one in the environment
// variable GLANCE_TEST_SEED, which is drawn and set before main() where it is not.
void set_seed(unsigned seed);

// --- Launches ---

struct Grid {
  const char *kernel;
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  unsigned cluster;
  bool overlaps_previous;
  size_t parameter_bytes;
  std::shared_ptr<const void> call;
  // Runs the kernel for one thread.
  void (*run)(const void *call);
};
cudaError_t launch(const Grid &grid);

// Runs what was launched and has not run; before that nothing of it may be there.
void finish_launches();

// A kernel that overlaps the one before it may start first, up to here.
void grid_dependency_wait();

unsigned char *shared_memory();

// Prints the message, where the thread that runs is, and the seed; aborts.
[[noreturn]] __attribute__((format(printf, 1, 2))) void misuse(const char *format, ...);

// Needs this compute capability, in tens: 80, 90.
void require(int capability, const char *what);

// --- Warps and blocks ---

// What one lane brings to an operation of its whole warp, and gets from it.
struct ShuffleArguments {
  uint64_t value;
  unsigned source;
};
void shuffle(ShuffleArguments &arguments);
unsigned lane();
void block_sync();
void named_sync(int id, int threads);
void named_arrive(int id, int threads);
void warp_sync();

// --- Clusters ---

uint32_t cluster_rank();
void cluster_sync();

// --- Shared memory ---

// The address in the 18 bits that descriptors have, of memory in this block's shared memory.
uint32_t shared_address(const void *shared);

// --- Asynchronous copies ---

void copy_async_16(void *shared, const void *global, int bytes);
void copy_async_commit();
void copy_async_wait(unsigned groups);

// --- Warp-level matrix instructions ---

struct MatricesArguments {
  const void *row;
  uint32_t *r;
};
void load_matrices(MatricesArguments &arguments, bool transposed);

struct MmaArguments {
  float *d;
  const uint32_t *a;
  uint32_t b[2];
};
void mma_bf16(MmaArguments &arguments);
void mma_f16(MmaArguments &arguments);

// --- Barriers in shared memory and tensor copies ---

void mbarrier_init(uint64_t *barrier, uint32_t arrivals);
void mbarrier_arrive_expect(uint64_t *barrier, uint32_t bytes);
void mbarrier_arrive(uint64_t *barrier);
void mbarrier_arrive_at(uint64_t *barrier, uint32_t block);
void mbarrier_wait(uint64_t *barrier, uint32_t parity);

// `map` is a CUtensorMap; to every block of the cluster whose bit is set.
void tensor_load(void *shared, const void *map, uint64_t *barrier, int column, int row,
                 uint32_t blocks);

// --- Warpgroup-level matrix instructions ---

struct WgmmaArguments {
  float *d;
  uint64_t a;
  uint64_t b;
  int accumulate;
  // N.
  unsigned columns;
  bool f16;
};
void wgmma(WgmmaArguments &arguments);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(unsigned groups);

}  // namespace glance_emulator
