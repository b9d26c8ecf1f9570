// The emulator's asynchronous copies and the barriers that count them.
#include <cuda.h>

#include <cmath>
#include <cstring>

#include "tests/emulator_problem.h"

namespace {

using glance::bf16;
using glance::Mbarrier;
using glance_test::run;
using glance_test::run_clusters;
using glance_test::whole_numbers;

// --- Copies of 16 bytes ---

struct Copies {
  const float *from;
  float *to;
  // Of the last of three groups.
  int bytes;
  int groups_left;
};

// Three groups of 16 bytes; each thread reads its own.
__global__ void copy_groups(const Copies c) {
  float *shared = reinterpret_cast<float *>(glance::shared_memory()) + threadIdx.x * 12;
  for (int g = 0; g < 3; ++g) {
    glance::copy_async_16(shared + g * 4, c.from + g * 4, g == 2 ? c.bytes : 16);
    glance::copy_async_commit();
  }
  if (c.groups_left == 0) glance::copy_async_wait<0>();
  if (c.groups_left == 1) glance::copy_async_wait<1>();
  if (c.groups_left == 2) glance::copy_async_wait<2>();
  for (int i = 0; i < 12; ++i) c.to[threadIdx.x * 12 + i] = shared[i];
}

TEST(EmulatorCopies, ArriveWhenTheyAreWaitedFor) {
  alignas(16) const float from[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  for (int left = 0; left <= 3; ++left) {
    for (const int bytes : {0, 4, 12, 16}) {
      std::vector<float> to(32 * 12);
      run(1, 32, 32 * 48, copy_groups, Copies{from, to.data(), bytes, left});
      for (int i = 0; i < 32 * 12; ++i) {
        const float got = to[static_cast<size_t>(i)];
        const int element = i % 12;
        if (element >= (3 - left) * 4) {
          EXPECT_TRUE(std::isnan(got));
        } else {
          EXPECT_EQ(got, element < 8 || (element - 8) * 4 < bytes ? from[element] : 0.0f);
        }
      }
    }
  }
}

__global__ void copy_from(const void *from, int to, int bytes) {
  glance::copy_async_16(glance::shared_memory() + to, from, bytes);
}

TEST(EmulatorDeathTest, CopiesAreAligned) {
  alignas(16) const unsigned char from[32] = {};
  const void *aligned = from, *other = from + 8;
  run(1, 1, 64, copy_from, aligned, 48, 16);
  EXPECT_DEATH(run(1, 1, 64, copy_from, other, 0, 16), "not aligned to 16");
  EXPECT_DEATH(run(1, 1, 64, copy_from, aligned, 8, 16), "not aligned to 16");
  EXPECT_DEATH(run(1, 1, 64, copy_from, aligned, 64, 16), "not within");
  EXPECT_DEATH(run(1, 1, 64, copy_from, aligned, 0, 17), "17 bytes");
}

// --- Barriers in shared memory ---

// The first warp hands numbers to the second through two places.
__global__ void hand_over(int *out, int turns) {
  Mbarrier *full = reinterpret_cast<Mbarrier *>(glance::shared_memory());
  Mbarrier *empty = full + 2;
  volatile int *places = reinterpret_cast<int *>(full + 4);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      glance::mbarrier_init(full + i, 32);
      glance::mbarrier_init(empty + i, 1);
    }
  }
  glance::block_sync();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int turn = 0; turn < turns; ++turn) {
    const int slot = turn % 2;
    const uint32_t parity = static_cast<uint32_t>(turn) / 2 % 2;
    if (threadIdx.x < 32) {
      glance::mbarrier_wait(empty + slot, parity ^ 1);
      places[slot * 32 + lane] = turn * 32 + lane;
      glance::mbarrier_arrive(full + slot);
    } else {
      glance::mbarrier_wait(full + slot, parity);
      out[turn * 32 + lane] = places[slot * 32 + lane];
      glance::warp_sync();
      if (lane == 0) glance::mbarrier_arrive(empty + slot);
    }
  }
}

TEST(EmulatorMbarrier, HasPhases) {
  std::vector<int> out(100 * 32);
  run(1, 64, 32 + 256, hand_over, out.data(), 100);
  for (int i = 0; i < 3200; ++i) ASSERT_EQ(out[static_cast<size_t>(i)], i);
}

__global__ void misuse_mbarrier(int what) {
  Mbarrier *barrier = reinterpret_cast<Mbarrier *>(glance::shared_memory());
  if (what != 0) glance::mbarrier_init(barrier, 1);
  if (what == 0) glance::mbarrier_arrive(barrier);
  if (what == 1) {
    glance::mbarrier_arrive_expect(barrier, 16);
    glance::mbarrier_arrive(barrier);
  }
  if (what == 2) glance::mbarrier_wait(barrier, 0);
  if (what == 3) glance::mbarrier_arrive_expect(barrier, 1 << 20);
  if (what == 4) glance::mbarrier_init(barrier, 1);
}

TEST(EmulatorDeathTest, Mbarrier) {
  EXPECT_DEATH(run(1, 1, 64, misuse_mbarrier, 0), "no mbarrier was initialised");
  EXPECT_DEATH(run(1, 1, 64, misuse_mbarrier, 1), "more arrivals");
  EXPECT_DEATH(run(1, 1, 64, misuse_mbarrier, 2), "deadlock(.|\n)*mbarrier_wait");
  EXPECT_DEATH(run(1, 1, 64, misuse_mbarrier, 3), "would expect more");
  EXPECT_DEATH(run(1, 1, 64, misuse_mbarrier, 4), "already");
}

// --- Tensor copies ---

constexpr int kRows = 20;
constexpr int kColumns = 100;
constexpr int kStride = 104;
constexpr int kBoxRows = 16;
constexpr int kBoxBytes = kBoxRows * 128;

CUtensorMap map_of(const bf16 *data) {
  CUtensorMap map;
  const cuuint64_t sizes[] = {kColumns, kRows};
  const cuuint64_t strides[] = {kStride * 2};
  const cuuint32_t box[] = {64, kBoxRows};
  const cuuint32_t every[] = {1, 1};
  EXPECT_EQ(cuTensorMapEncodeTiled(
                &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<bf16 *>(data), sizes, strides,
                box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
            CUDA_SUCCESS);
  return map;
}

struct Loads {
  CUtensorMap map;
  uint16_t *out;
  int column;
  int row;
  bool wait;
};

// The second block loads the box for all blocks of the cluster, or each for itself.
__global__ void load_box(const __grid_constant__ Loads l) {
  unsigned char *shared = glance::shared_memory();
  Mbarrier *barrier = reinterpret_cast<Mbarrier *>(shared + 3072);
  const bool first = threadIdx.x == 0;
  if (first) {
    glance::mbarrier_init(barrier, 1);
    glance::mbarrier_init_fence();
  }
  glance::cluster_sync();
  const bool alone = gridDim.x == 1;
  if (first) {
    glance::mbarrier_arrive_expect(barrier, kBoxBytes);
    if (alone) glance::tensor_load(shared + 1024, &l.map, barrier, l.column, l.row);
    if (!alone && glance::cluster_rank() == 1) {
      glance::tensor_load_multicast(shared + 1024, &l.map, barrier, l.column, l.row, 3);
    }
  }
  if (l.wait) glance::mbarrier_wait(barrier, 0);
  const uint16_t *box = reinterpret_cast<const uint16_t *>(shared + 1024);
  uint16_t *out = l.out + blockIdx.x * kBoxRows * 64;
  for (unsigned i = threadIdx.x; i < kBoxRows * 64; i += blockDim.x) out[i] = box[i];
  glance::mbarrier_wait(barrier, 0);
  glance::cluster_sync();
}

std::vector<uint16_t> loaded(const bf16 *data, unsigned cluster, int column, int row, bool wait) {
  std::vector<uint16_t> out(cluster * kBoxRows * 64);
  const Loads loads = {map_of(data), out.data(), column, row, wait};
  run_clusters(cluster, cluster, 64, 3072 + 8, load_box, loads);
  return out;
}

TEST(EmulatorTensorCopy, ExchangesPlacesWithinRowsAndFillsWithZeros) {
  std::vector<bf16> data = whole_numbers<bf16>(kRows * kStride + 8, 5);
  const bf16 *aligned = data.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 16 != 0) ++aligned;
  for (const unsigned cluster : {1u, 2u}) {
    for (const int column : {0, 64, -8, 200}) {
      for (const int row : {0, 8, -3}) {
        const std::vector<uint16_t> out = loaded(aligned, cluster, column, row, true);
        for (int i = 0; i < static_cast<int>(out.size()); ++i) {
          const int r = i / 64 % kBoxRows, place = i % 64 / 8;
          const int from_row = row + r, from = column + (place ^ (r % 8)) * 8 + i % 8;
          const bool there = from_row >= 0 && from_row < kRows && from >= 0 && from < kColumns;
          ASSERT_EQ(out[static_cast<size_t>(i)],
                    there ? aligned[from_row * kStride + from].bits : 0)
              << "row " << r << " place " << place << " of (" << row << ", " << column << ")";
        }
      }
    }
  }
}

TEST(EmulatorTensorCopy, MissingWaitShows) {
  std::vector<bf16> data = whole_numbers<bf16>(kRows * kStride + 8, 6);
  const bf16 *aligned = data.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 16 != 0) ++aligned;
  int wrong = 0;
  for (int i = 0; i < 20; ++i) {
    wrong += loaded(aligned, 2, 0, 0, false) != loaded(aligned, 2, 0, 0, true);
  }
  EXPECT_GT(wrong, 0);
}

// Nobody waits for the copy before the block ends.
__global__ void load_and_go(const __grid_constant__ Loads l) {
  Mbarrier *barrier = reinterpret_cast<Mbarrier *>(glance::shared_memory() + 2048);
  glance::mbarrier_init(barrier, 1);
  glance::mbarrier_arrive_expect(barrier, kBoxBytes);
  glance::tensor_load(glance::shared_memory(), &l.map, barrier, 0, 0);
}

// The first block may arrive at the second's barrier when that one has ended, or not begun.
__global__ void arrive_elsewhere() {
  Mbarrier *barrier = reinterpret_cast<Mbarrier *>(glance::shared_memory());
  glance::mbarrier_init(barrier, 1);
  if (glance::cluster_rank() == 0) glance::mbarrier_arrive_at(barrier, 1);
}

void many_times(const Loads &loads) {
  for (int i = 0; i < 50; ++i) {
    run(1, 1, 2048 + 8, load_and_go, loads);
    run_clusters(2, 2, 1, 8, arrive_elsewhere);
  }
}

TEST(EmulatorDeathTest, BlocksEndTooEarly) {
  alignas(16) static bf16 data[kRows * kStride] = {};
  const Loads loads = {map_of(data), nullptr, 0, 0, false};
  EXPECT_DEATH(many_times(loads),
               "while a tensor copy to it|has ended|no mbarrier was initialised");
}

TEST(EmulatorTensorCopy, RefusesWhatTheDriverRefuses) {
  CUtensorMap map;
  alignas(16) static bf16 data[64 * 64] = {};
  const auto encode = [&](bf16 *at, cuuint64_t stride, cuuint32_t box_columns,
                          cuuint32_t box_rows) {
    const cuuint64_t sizes[] = {64, 64};
    const cuuint32_t box[] = {box_columns, box_rows};
    const cuuint32_t every[] = {1, 1};
    return cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, at, sizes, &stride, box,
                                  every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                  CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  };
  EXPECT_EQ(encode(data, 128, 64, 256), CUDA_SUCCESS);
  EXPECT_EQ(encode(data + 1, 128, 64, 64), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(encode(data, 136, 64, 64), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(encode(data, 128, 72, 64), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(encode(data, 128, 64, 257), CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
