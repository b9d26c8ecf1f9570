// The emulator's matrix instructions against plain products, in the ways that operands are commonly
// laid out for them.
#include <cstring>

#include "cuda/wgmma.h"
#include "tests/emulator_problem.h"

namespace {

using glance::bf16;
using glance::f16;
using glance_test::product;
using glance_test::run;
using glance_test::whole_numbers;

// --- mma ---

enum class Load { lanes, matrices, transposed };

template <typename T>
struct MmaProblem {
  // 16 x 16, and N x K (8 x 16).
  const T *a;
  const T *b;
  float *c;
  Load load;
};

template <typename T>
uint32_t two(const T *first) {
  uint32_t both;
  memcpy(&both, first, sizeof both);
  return both;
}

template <typename T>
__global__ void multiply_small(const MmaProblem<T> p) {
  T *a = reinterpret_cast<T *>(glance::shared_memory());
  T *b = a + 256;
  T *b_transposed = b + 128;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) a[i] = p.a[i];
  for (int i = lane; i < 128; i += 32) {
    b[i] = p.b[i];
    b_transposed[i % 16 * 8 + i / 16] = p.b[i];
  }
  glance::warp_sync();
  const int g = lane / 4, t = 2 * (lane % 4);
  uint32_t left[4];
  uint32_t right[4];
  if (p.load == Load::lanes) {
    left[0] = two(p.a + g * 16 + t);
    left[1] = two(p.a + (g + 8) * 16 + t);
    left[2] = two(p.a + g * 16 + t + 8);
    left[3] = two(p.a + (g + 8) * 16 + t + 8);
    right[0] = two(p.b + g * 16 + t);
    right[1] = two(p.b + g * 16 + t + 8);
  } else {
    glance::load_matrices(left, a + lane % 16 * 16 + lane / 16 * 8);
    // Both halves of K; the other two matrices are not used.
    const int half = lane / 8 % 2;
    if (p.load == Load::matrices) {
      glance::load_matrices(right, b + lane % 8 * 16 + half * 8);
    } else {
      glance::load_matrices_transposed(right, b_transposed + (lane % 8 + half * 8) * 8);
    }
  }
  float d[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  glance::mma<T>(d, left, right[0], right[1]);
  p.c[g * 8 + t] = d[0] - 1.0f;
  p.c[g * 8 + t + 1] = d[1] - 2.0f;
  p.c[(g + 8) * 8 + t] = d[2] - 3.0f;
  p.c[(g + 8) * 8 + t + 1] = d[3] - 4.0f;
}

template <typename T>
void check_mma() {
  const std::vector<T> a = whole_numbers<T>(16 * 16, 1);
  const std::vector<T> b = whole_numbers<T>(8 * 16, 2);
  for (const Load load : {Load::lanes, Load::matrices, Load::transposed}) {
    std::vector<float> c(16 * 8);
    run(1, 32, 1024, multiply_small<T>, MmaProblem<T>{a.data(), b.data(), c.data(), load});
    EXPECT_EQ(c, product(a, b, 16)) << "load " << static_cast<int>(load);
  }
}

TEST(EmulatorMma, IsAProduct) {
  check_mma<bf16>();
  check_mma<f16>();
}

TEST(EmulatorMma, PacksTheFirstBelow) {
  EXPECT_EQ(glance::pack_two<bf16>(1.0f, -2.0f), 0xC0003F80u);
  EXPECT_EQ(glance::pack_two<f16>(1.0f, -2.0f), 0xC0003C00u);
}

// --- wgmma ---

enum class Mistake { none, no_fence, early_write, early_read, touched };

template <typename T>
struct WgmmaProblem {
  // M x 64 with a block for every 64 rows, and N x 64.
  const T *a;
  const T *b;
  float *c;
  Mistake mistake;
};

// Rows of 64 elements: the eight places of 16 bytes of row r are exchanged by r % 8.
template <typename T>
void lay_out(T *shared, const T *from, int rows) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * 64; i += 128) {
    const int row = i / 64, column = i % 64;
    shared[row * 64 + ((column / 8) ^ (row % 8)) * 8 + column % 8] = from[i];
  }
}

template <typename T, int kN>
__global__ void multiply_large(const WgmmaProblem<T> p) {
  T *a = reinterpret_cast<T *>(glance::shared_memory());
  T *b = a + 64 * 64;
  lay_out(a, p.a + blockIdx.x * 64 * 64, 64);
  lay_out(b, p.b, kN);
  glance::shared_writes_to_async();
  glance::block_sync();
  float d[kN / 2] = {};
  const uint64_t left = glance::wgmma_operand(a);
  const uint64_t right = glance::wgmma_operand(b);
  if (p.mistake != Mistake::no_fence) glance::wgmma_fence();
  for (unsigned k = 0; k < 4; ++k) {
    glance::wgmma<T>(d, left + k * glance::kWgmmaNextK, right + k * glance::kWgmmaNextK, k > 0);
    glance::wgmma_commit();
  }
  if (p.mistake == Mistake::touched) {
    d[5] = 0.0f;
    glance::wgmma<T>(d, left, right, 1);
  }
  if (p.mistake == Mistake::early_write) a[threadIdx.x] = T{0x7FA5};
  if (p.mistake != Mistake::early_read) glance::wgmma_wait<0>();
  const int thread = static_cast<int>(threadIdx.x);
  float *c = p.c + blockIdx.x * 64 * kN;
  for (int i = 0; i < kN / 8; ++i) {
    for (int e = 0; e < 4; ++e) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + e / 2 * 8;
      c[row * kN + 8 * i + thread % 4 * 2 + e % 2] = d[4 * i + e];
    }
  }
  glance::wgmma_wait<0>();
}

constexpr unsigned kBlocks = 8;

template <typename T, int kN>
void check_wgmma(Mistake mistake) {
  const std::vector<T> a = whole_numbers<T>(kBlocks * 64 * 64, 3);
  const std::vector<T> b = whole_numbers<T>(kN * 64, 4);
  std::vector<float> c(kBlocks * 64 * kN);
  run(kBlocks, 128, (64 + kN) * 128, multiply_large<T, kN>,
      WgmmaProblem<T>{a.data(), b.data(), c.data(), mistake});
  EXPECT_EQ(c == product(a, b, 64), mistake == Mistake::none);
}

TEST(EmulatorWgmma, IsAProduct) {
  check_wgmma<bf16, 128>(Mistake::none);
  check_wgmma<bf16, 192>(Mistake::none);
  check_wgmma<bf16, 256>(Mistake::none);
  check_wgmma<f16, 128>(Mistake::none);
  check_wgmma<f16, 256>(Mistake::none);
}

TEST(EmulatorWgmma, MissingWaitShows) {
  check_wgmma<bf16, 128>(Mistake::early_write);
  check_wgmma<bf16, 128>(Mistake::early_read);
}

TEST(EmulatorDeathTest, WgmmaOnTouchedAccumulators) {
  EXPECT_DEATH((check_wgmma<bf16, 128>(Mistake::no_fence)), "no wgmma_fence");
  EXPECT_DEATH((check_wgmma<bf16, 128>(Mistake::touched)), "touched accumulator 5 before");
}

__global__ void one_warp_alone() {
  float d[64] = {};
  const uint64_t operand = glance::wgmma_operand(glance::shared_memory());
  glance::wgmma_fence();
  if (threadIdx.x < 32) glance::wgmma<bf16>(d, operand, operand, 0);
  glance::wgmma_commit();
  glance::wgmma_wait<0>();
}

__global__ void unaligned_operand() {
  float d[64] = {};
  const uint64_t operand = glance::wgmma_operand(glance::shared_memory() + 128);
  glance::wgmma_fence();
  glance::wgmma<bf16>(d, operand, operand, 0);
  glance::wgmma_commit();
  glance::wgmma_wait<0>();
}

TEST(EmulatorDeathTest, WgmmaNeedsItsWarpgroup) {
  EXPECT_DEATH(run(1, 128, 16384, one_warp_alone), "has another group than its warpgroup");
  EXPECT_DEATH(run(1, 64, 16384, one_warp_alone), "is not in a whole warpgroup");
  EXPECT_DEATH(run(1, 128, 32768, unaligned_operand), "not aligned to 1024 bytes");
}

}  // namespace
