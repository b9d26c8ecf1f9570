// The ring of shared memory that lora_tiles_wgmma works through, and the way its clusters walk the
// output tiles: see there.
#pragma once

#include "cuda/lora_params.h"
#include "cuda/warp_store.h"
#include "cuda/wgmma.h"

namespace glance {

// 128 bytes: the widest swizzle.
constexpr int kSlotK = 64;
constexpr int kSlotRowBytes = 2 * kSlotK;
constexpr int kConsumers = 2;
constexpr int kWarpgroup = 128;
constexpr int kThreads = kWarpgroup * (1 + kConsumers);
constexpr int kCluster = 2;
constexpr int kWarps = kWarpgroup / 32;

template <int kTileN>
struct Ring {
  static constexpr int kSlots = kTileN == 256 ? 4 : kTileN == 192 ? 5 : 6;
  // Slots that the first consumer has before the second begins. Each holds on to two slots, its own
  // and the one before, and one or more must be on their way.
  static constexpr int kHeadStart = kSlots / 2 - 1;
  static constexpr int kLeftBytes = kTileRows * kSlotRowBytes;
  static constexpr int kRightBytes = kTileN * kSlotRowBytes;
  static constexpr int kSlotBytes = kLeftBytes + kRightBytes;
  static constexpr int kStoreBytes = kConsumers * kWarps * kStageBytesOfWarp;
  static constexpr int kBarrierBytes = 2 * kSlots * static_cast<int>(sizeof(Mbarrier));
  static constexpr size_t kSharedBytes = kSlots * kSlotBytes + kStoreBytes + kBarrierBytes;
};

// Where a thread is in the ring: the slot, and the parity of the phase it waits for.
template <int kTileN>
struct Position {
  int slot = 0;
  uint32_t parity = 0;

  __device__ void next() {
    if (++slot < Ring<kTileN>::kSlots) return;
    slot = 0;
    parity ^= 1;
  }
};

template <int kTileN>
struct Shared {
  unsigned char *base;

  __device__ unsigned char *left(int slot) const { return base + slot * Ring<kTileN>::kSlotBytes; }
  __device__ unsigned char *right(int slot) const { return left(slot) + Ring<kTileN>::kLeftBytes; }
  __device__ unsigned char *store(int warp) const {
    return base + Ring<kTileN>::kSlots * Ring<kTileN>::kSlotBytes + warp * kStageBytesOfWarp;
  }
  __device__ Mbarrier *full(int slot) const {
    return reinterpret_cast<Mbarrier *>(store(kConsumers * kWarps)) + slot;
  }
  __device__ Mbarrier *empty(int slot) const { return full(Ring<kTileN>::kSlots + slot); }
};

// A cluster's work: two row tiles of one column tile of one linear.
struct Unit {
  int32_t linear;
  int32_t column;
  int32_t row_pair;
};

template <int kTileN>
__host__ __device__ int32_t tiles_across(const LinearParams &l) {
  return (l.n + kTileN - 1) / kTileN;
}

inline __host__ __device__ int32_t row_pairs(const LoraParams &p) {
  return (p.row_tiles + kCluster - 1) / kCluster;
}

template <int kTileN>
__host__ __device__ int32_t unit_count(const LoraParams &p) {
  int32_t columns = 0;
  for (int32_t i = 0; i < p.linear_count; ++i) columns += tiles_across<kTileN>(p.linears[i]);
  return columns * row_pairs(p);
}

template <int kTileN>
__device__ Unit unit_at(const LoraParams &p, int32_t index) {
  const int32_t pairs = row_pairs(p);
  int32_t column = index / pairs;
  const int32_t row_pair = index - column * pairs;
  int32_t linear = 0;
  while (column >= tiles_across<kTileN>(p.linears[linear])) {
    column -= tiles_across<kTileN>(p.linears[linear++]);
  }
  return {linear, column * kTileN, row_pair};
}

// Steps of 16 of the up-projection of a linear: as many as its widest adapter needs. That the
// tile's own may need fewer the compiler must not see: it gives wgmma up where a branch might
// diverge.
GLANCE_DEVICE int32_t up_steps(const LoraParams &p, const LinearParams &l) {
  int32_t rank = 0;
  for (int32_t i = 0; i < p.adapter_count; ++i) rank = greater(rank, l.up[i].rank);
  return (rank + 15) / 16;
}

}  // namespace glance
