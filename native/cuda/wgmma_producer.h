// The producer warpgroup of lora_tiles_wgmma: fills the ring. See there.
#pragma once

#include "cuda/lora_params.h"
#include "cuda/wgmma.h"
#include "cuda/wgmma_ring.h"

namespace glance {

// Of named_sync.
constexpr int kProducerBarrier = 1;

struct Maps {
  TensorMap x;
  TensorMap w[GLANCE_MAX_LINEARS];
};

GLANCE_DEVICE int32_t rank_of(const LinearParams &l, const RowTileParams &rows) {
  return rows.adapter < 0 ? 0 : l.up[rows.adapter].rank;
}

// A matrix of 16-bit elements that is copied into a slot's layout by plain threads.
struct SlotSource {
  const uint16_t *data;
  int64_t row_stride;
  int64_t column_stride;
  int32_t rows;
  int32_t columns;

  __device__ bool aligned() const {
    return column_stride == 1 && row_stride % 8 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  }
};

// Copies `places` times 8 columns of kRows rows, from column `first` on, in the layout that TMA
// gives: place c of row r goes to c ^ (r % 8). What the source does not have becomes zero.
template <int kRows>
__device__ void fill_slot(unsigned char *slot, const SlotSource &source, int32_t first,
                          int32_t places, int thread) {
  const bool aligned = source.aligned();
  for (int row = thread; row < kRows; row += kWarpgroup) {
    const uint16_t *from = source.data + row * source.row_stride;
    for (int32_t place = 0; place < places; ++place) {
      const int32_t column = first + place * 8;
      const int32_t left = row < source.rows ? lesser(greater(source.columns - column, 0), 8) : 0;
      unsigned char *to = slot + row * kSlotRowBytes + (place ^ (row % 8)) * 16;
      if (aligned) {
        copy_async_16(to, left > 0 ? from + column : source.data, 2 * left);
      } else {
        uint16_t *elements = reinterpret_cast<uint16_t *>(to);
        for (int e = 0; e < 8; ++e) {
          elements[e] = e < left ? from[(column + e) * source.column_stride] : uint16_t{0};
        }
      }
    }
  }
}

// One thread: x's and W's slots of a tile.
template <int kTileN>
__device__ void load_products(const LoraParams &p, const Maps &maps, const Shared<kTileN> &shared,
                              Position<kTileN> at, const Unit &unit, const RowTileParams &rows,
                              uint32_t rank) {
  constexpr int kHalf = kTileN / kCluster;
  constexpr uint16_t kBoth = (1 << kCluster) - 1;
  const int part = static_cast<int>(rank) * kHalf;
  for (int32_t k = 0; k < p.k; k += kSlotK, at.next()) {
    Mbarrier *full = shared.full(at.slot);
    mbarrier_wait(shared.empty(at.slot), at.parity ^ 1);
    mbarrier_arrive_expect(full, Ring<kTileN>::kSlotBytes);
    tensor_load(shared.left(at.slot), &maps.x, full, k, rows.begin);
    tensor_load_multicast(shared.right(at.slot) + part * kSlotRowBytes, &maps.w[unit.linear], full,
                          k, unit.column + part, kBoth);
  }
}

// All threads of the producer: the up-projection's slots.
template <int kTileN>
__device__ void load_up(const LoraParams &p, const Shared<kTileN> &shared, Position<kTileN> *at,
                        const Unit &unit, const RowTileParams &rows, int thread) {
  const LinearParams &l = p.linears[unit.linear];
  const int32_t rank = rank_of(l, rows);
  const UpParams &up = l.up[rows.adapter < 0 ? 0 : rows.adapter];
  const SlotSource h = {static_cast<const uint16_t *>(p.h) + rows.begin * p.h_stride + up.first,
                        p.h_stride, 1, rows.count, rank};
  const SlotSource b = {static_cast<const uint16_t *>(up.b) + unit.column * up.row_stride,
                        up.row_stride, up.column_stride, l.n - unit.column, rank};
  int32_t steps = up_steps(p, l);
  // Threads that have nothing to load before sleep here until then.
  if (steps > 0) named_sync(kProducerBarrier, kWarpgroup);
  for (int32_t first = 0; steps > 0; first += kSlotK, steps -= kSlotK / 16, at->next()) {
    const int32_t places = 2 * lesser(steps, kSlotK / 16);
    mbarrier_wait(shared.empty(at->slot), at->parity ^ 1);
    fill_slot<kTileRows>(shared.left(at->slot), h, first, places, thread);
    fill_slot<kTileN>(shared.right(at->slot), b, first, places, thread);
    copy_async_commit();
    copy_async_wait<0>();
    shared_writes_to_async();
    named_sync(kProducerBarrier, kWarpgroup);
    if (thread == 0) mbarrier_arrive(shared.full(at->slot));
  }
}

template <int kTileN>
__device__ void produce(const LoraParams &p, const Maps &maps, const Shared<kTileN> &shared,
                        int thread) {
  const uint32_t rank = cluster_rank();
  const int32_t units = unit_count<kTileN>(p);
  const int32_t slots = (p.k + kSlotK - 1) / kSlotK;
  Position<kTileN> at;
  bool h_is_there = false;
  for (int32_t u = blockIdx.x / kCluster; u < units; u += gridDim.x / kCluster) {
    const Unit unit = unit_at<kTileN>(p, u);
    const RowTileParams rows = row_tile_of(p, unit.row_pair * kCluster + static_cast<int>(rank));
    if (thread == 0) load_products(p, maps, shared, at, unit, rows, rank);
    warp_sync();
    for (int32_t s = 0; s < slots; ++s) at.next();
    if (!h_is_there) grid_dependency_wait();
    h_is_there = true;
    load_up(p, shared, &at, unit, rows, thread);
  }
}

}  // namespace glance
