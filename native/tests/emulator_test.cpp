// The emulator itself, which the tests of the CUDA kernels trust.
#include <gtest/gtest.h>

#include <vector>

#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "cuda/wgmma.h"

namespace {

using glance::launch;
using glance::LaunchShape;

struct Fill {
  int *out;
  int count;
};

__global__ void fill(const Fill f) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < f.count) f.out[i] = i;
}

TEST(Emulator, RunsEveryThreadOfEveryBlock) {
  std::vector<int> out(1000, -1);
  LaunchShape shape;
  shape.grid = dim3(8);
  shape.block = dim3(128);
  ASSERT_EQ(launch(shape, nullptr, fill, Fill{out.data(), 1000}), cudaSuccess);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(out[static_cast<size_t>(i)], i);
}

// Each thread tells its value to the next through shared memory, and sums over its warp.
__global__ void pass_on(int *out, bool wait) {
  int *shared = reinterpret_cast<int *>(glance::shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  shared[thread] = thread;
  if (wait) glance::block_sync();
  int sum = shared[(thread + 1) % threads];
  for (int mask = 16; mask > 0; mask /= 2) sum += glance::shuffle_xor(sum, mask);
  if (wait) glance::block_sync();
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

std::vector<int> passed_on(bool wait) {
  std::vector<int> out(20 * 96);
  LaunchShape shape;
  shape.grid = dim3(20);
  shape.block = dim3(96);
  shape.shared_bytes = 96 * sizeof(int);
  EXPECT_EQ(launch(shape, nullptr, pass_on, out.data(), wait), cudaSuccess);
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

}  // namespace
