// The emulator itself, which the tests of the CUDA kernels trust: threads, warps, blocks, memory.
#include <cuda_runtime.h>

#include <cmath>

#include "tests/emulator_problem.h"

namespace {

using glance_test::run;
using glance_test::run_clusters;

// --- Threads ---

__global__ void number(int *out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) out[i] = i;
}

TEST(Emulator, RunsEveryThreadOfEveryBlock) {
  std::vector<int> out(1000, -1);
  run(8, 128, 0, number, out.data(), 1000);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(out[static_cast<size_t>(i)], i);
}

__global__ void place(dim3 *out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * 70 + thread] = dim3(threadIdx.x, threadIdx.y, blockIdx.z);
}

TEST(Emulator, NumbersThreadsInThreeDimensions) {
  std::vector<dim3> out(24 * 70);
  glance::LaunchShape shape;
  shape.grid = dim3(2, 3, 4);
  shape.block = dim3(7, 5, 2);
  ASSERT_EQ(glance::launch(shape, nullptr, place, out.data()), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i].x, i % 7);
    EXPECT_EQ(out[i].y, i / 7 % 5);
    EXPECT_EQ(out[i].z, i / 70 / 6);
  }
}

// Each thread tells its value to the next through shared memory, and sums over its warp.
__global__ void pass_on(int *out, bool wait) {
  int *shared = reinterpret_cast<int *>(glance::shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  shared[thread] = thread;
  if (wait) glance::block_sync();
  unsigned sum = static_cast<unsigned>(shared[(thread + 1) % threads]);
  for (int mask = 16; mask > 0; mask /= 2) sum += glance::shuffle_xor(sum, mask);
  out[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<int>(sum);
}

std::vector<int> passed_on(bool wait) {
  std::vector<int> out(20 * 96);
  run(20, 96, 96 * sizeof(int), pass_on, out.data(), wait);
  return out;
}

TEST(Emulator, ExchangesThroughSharedMemoryAndShuffles) {
  const std::vector<int> out = passed_on(true);
  for (size_t i = 0; i < out.size(); ++i) {
    int sum = 0;
    const int warp = static_cast<int>(i % 96 / 32 * 32);
    for (int lane = 0; lane < 32; ++lane) sum += (warp + lane + 1) % 96;
    ASSERT_EQ(out[i], sum) << i;
  }
}

TEST(Emulator, MissingBarrierShows) { EXPECT_NE(passed_on(false), passed_on(true)); }

__global__ void from_lane(double *out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = glance::shuffle(lane * 0.5, 31 - lane);
}

TEST(Emulator, ShufflesFromAnyLane) {
  std::vector<double> out(32);
  run(1, 32, 0, from_lane, out.data());
  for (int lane = 0; lane < 32; ++lane)
    EXPECT_EQ(out[static_cast<size_t>(lane)], (31 - lane) / 2.0);
}

// --- Barriers ---

// Two pairs of warps, each with its own barrier, hand values on at their own pace.
__global__ void relay(int *out, int turns) {
  volatile int *shared = reinterpret_cast<int *>(glance::shared_memory());
  const int pair = static_cast<int>(threadIdx.x) / 64;
  const int thread = static_cast<int>(threadIdx.x) % 64;
  volatile int *own = shared + pair * 64;
  own[thread] = 0;
  // Barriers of a single warp change nothing.
  glance::named_sync(5 + static_cast<int>(threadIdx.x) / 32, 32);
  for (int turn = 0; turn < turns + pair; ++turn) {
    glance::named_sync(1 + pair, 64);
    const int next = own[(thread + 1) % 64] + 1;
    glance::named_sync(1 + pair, 64);
    own[thread] = next;
  }
  out[threadIdx.x] = own[thread];
}

TEST(Emulator, NamedBarriers) {
  std::vector<int> out(128);
  run(1, 128, 512, relay, out.data(), 20);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i < 64 ? 20 : 21);
}

// The first warp goes on without the second, which waits for it.
__global__ void let_go(int *out) {
  volatile int *shared = reinterpret_cast<int *>(glance::shared_memory());
  if (threadIdx.x < 32) {
    shared[threadIdx.x] = 5;
    glance::named_arrive(1, 64);
  } else {
    glance::named_sync(1, 64);
    out[threadIdx.x - 32] = shared[threadIdx.x - 32];
  }
}

TEST(Emulator, NamedBarriersWithoutWaiting) {
  std::vector<int> out(32);
  run(1, 64, 128, let_go, out.data());
  EXPECT_EQ(out, std::vector<int>(32, 5));
}

__global__ void leave_early(int *out) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= 40) return;
  glance::block_sync();
  out[thread] = thread;
}

TEST(Emulator, EndedThreadsAreNotWaitedFor) {
  std::vector<int> out(40, -1);
  run(1, 128, 0, leave_early, out.data());
  for (int i = 0; i < 40; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], i);
}

// --- Kernels that follow each other ---

__global__ void follow(int *numbers, bool wait, int from) {
  if (wait) glance::grid_dependency_wait();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  numbers[i] = numbers[i] == from ? from + 1 : -1;
}

// Three kernels, of which the first may be overlapped by the second, and that by the third.
bool all_followed(bool overlaps, bool wait) {
  std::vector<int> numbers(8 * 64);
  for (int from = 0; from < 3; ++from) {
    glance::LaunchShape shape;
    shape.grid = dim3(8);
    shape.block = dim3(64);
    shape.overlaps_previous = overlaps && from > 0;
    EXPECT_EQ(glance::launch(shape, nullptr, follow, numbers.data(), wait, from), cudaSuccess);
  }
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  return numbers == std::vector<int>(8 * 64, 3);
}

TEST(Emulator, OverlappingKernelsHaveToWait) {
  int right = 0;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(all_followed(false, false));
    EXPECT_TRUE(all_followed(true, true));
    right += all_followed(true, false);
  }
  EXPECT_LT(right, 20);
}

// --- Memory ---

__global__ void read_shared(float *out) {
  const float *shared = reinterpret_cast<const float *>(glance::shared_memory());
  for (int i = 0; i < 64; ++i) out[i] = shared[i];
}

TEST(Emulator, SharedMemoryBeginsWithNaNs) {
  std::vector<float> out(64);
  run(1, 1, 256, read_shared, out.data());
  for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

TEST(Emulator, DeviceMemoryBeginsWithNaNs) {
  glance::bf16 *memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 2 * 33), cudaSuccess);
  for (int i = 0; i < 33; ++i) EXPECT_TRUE(std::isnan(glance::to_f32(memory[i])));
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(&memory), cudaErrorInvalidValue);
}

// --- What a GPU does not define stops the program ---

__global__ void shuffle_apart() {
  if (threadIdx.x % 2 == 0) {
    glance::shuffle(1, 0);
  } else {
    glance::warp_sync();
  }
}

TEST(EmulatorDeathTest, DivergentWarp) {
  EXPECT_DEATH(run(1, 32, 0, shuffle_apart), "warp 0 is at (warp_sync|shuffle) while others are");
}

__global__ void two_barriers() {
  if (threadIdx.x < 32) {
    glance::block_sync();
  } else {
    glance::named_sync(3, 64);
  }
}

TEST(EmulatorDeathTest, Deadlock) {
  EXPECT_DEATH(run(1, 64, 0, two_barriers),
               "deadlock(.|\n)*warp 0: from lane 0 at block_sync(.|\n)*warp 1:.*at named_sync");
}

__global__ void too_few_at_barrier(int id, int threads) {
  if (threadIdx.x < 64) glance::named_sync(id, threads);
}

TEST(EmulatorDeathTest, NamedBarrierCounts) {
  EXPECT_DEATH(run(1, 128, 0, too_few_at_barrier, 1, 96),
               "deadlock(.|\n)*warp 0:.*named_sync(.|\n)*warp 1:.*named_sync");
  EXPECT_DEATH(run(1, 128, 0, too_few_at_barrier, 1, 33), "33 threads of a block's 128");
  EXPECT_DEATH(run(1, 128, 0, too_few_at_barrier, 16, 64), "barrier 16");
}

__global__ void uneven_barrier() { glance::named_sync(1, threadIdx.x < 32 ? 64 : 96); }

TEST(EmulatorDeathTest, NamedBarrierOfTwoCounts) {
  EXPECT_DEATH(run(1, 96, 0, uneven_barrier),
               "64 threads for some warps|96 threads for some warps");
}

__global__ void part_of_a_matrix() {
  if (threadIdx.x == 7) return;
  uint32_t r[4];
  glance::load_matrices(r, glance::shared_memory());
}

TEST(EmulatorDeathTest, MatrixInstructionsNeedAllLanes) {
  EXPECT_DEATH(run(1, 32, 1024, part_of_a_matrix), "needs all 32 lanes of warp 0");
}

__global__ void load_at(int offset) {
  uint32_t r[4];
  glance::load_matrices(r, glance::shared_memory() + offset);
}

TEST(EmulatorDeathTest, SharedAddresses) {
  run(1, 32, 1024, load_at, 1008);
  EXPECT_DEATH(run(1, 32, 1024, load_at, 1024), "not within the block's 1024 bytes");
  EXPECT_DEATH(run(1, 32, 1024, load_at, -16), "not within the block's 1024 bytes");
  EXPECT_DEATH(run(1, 32, 1024, load_at, 8), "not aligned to 16 bytes");
}

__global__ void write_at(int offset) { glance::shared_memory()[offset] = 1; }

TEST(EmulatorDeathTest, SharedMemoryIsGuarded) {
  run(1, 1, 100, write_at, 99);
  EXPECT_DEATH(run(1, 1, 100, write_at, 100), "outside its 100 bytes|AddressSanitizer");
  EXPECT_DEATH(run(1, 1, 100, write_at, -1), "outside its 100 bytes|AddressSanitizer");
}

void overrun(int offset) {
  unsigned char *memory = nullptr;
  if (cudaMalloc(&memory, 100) != cudaSuccess) return;
  volatile unsigned char *place = memory + offset;
  *place = 1;
  cudaFree(memory);
}

TEST(EmulatorDeathTest, DeviceMemoryIsGuarded) {
  overrun(99);
  EXPECT_DEATH(overrun(100), "outside the 100 bytes|AddressSanitizer");
  EXPECT_DEATH(overrun(-1), "outside the 100 bytes|AddressSanitizer");
}

__global__ void nothing() {}

struct Large {
  unsigned char bytes[32765];
};
__global__ void nothing_of(Large) {}

TEST(EmulatorDeathTest, ImpossibleLaunches) {
  run(1, 1024, 227 << 10, nothing);
  EXPECT_DEATH(run(1, 1025, 0, nothing), "a block of 1025 threads");
  EXPECT_DEATH(run(1, 32, (227 << 10) + 1, nothing), "232449 bytes of shared memory");
  EXPECT_DEATH(run_clusters(3, 2, 32, 0, nothing), "clusters of 2 blocks in a grid of 3");
  EXPECT_DEATH(run(1, 32, 0, nothing_of, Large{}), "32765 bytes of kernel parameters");
  glance::LaunchShape empty;
  empty.grid = dim3(0);
  EXPECT_EQ(glance::launch(empty, nullptr, nothing), cudaErrorInvalidConfiguration);
}

void on_older_device(unsigned cluster, size_t shared_bytes) {
  glance_emulator::device().compute_major = 8;
  run_clusters(2, cluster, 32, shared_bytes, nothing);
}

TEST(EmulatorDeathTest, OlderDeviceHasLess) {
  EXPECT_DEATH(on_older_device(2, 0), "a cluster on a device of compute capability 80");
  EXPECT_DEATH(on_older_device(1, 200 << 10), "a block can have 166912");
}

}  // namespace
