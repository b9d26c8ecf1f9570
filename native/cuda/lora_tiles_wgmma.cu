// The products of lora_linear on Hopper (sm_90a), BF16 and F16, sums in f32.
//
// Formula: glance/lora_linear.h. x rows x K and W N x K, row-major with K inside: what TMA and
// wgmma take as it lies. 4608 x 3072 -> 3072 to 21504 is what it is made for. An output tile is 128
// rows x kTileN columns. A block has one producer warpgroup, which fills a ring of shared memory
// slots of 64 of K, and two consumer warpgroups, which multiply 64 rows each. Two blocks make a
// cluster: they work on neighbouring rows and the same columns, and each loads half of W's part for
// both, which takes the traffic from the second-level cache from 9 to 6 TB/s at full rate. Blocks
// stay and walk tiles, rows innermost, so that those at work at one time share W's columns.
//
// The up-projection is up to four more slots on the same accumulators, h in x's place and the
// tile's adapter's B in W's, so it costs rank / K of the products, and no pass over y. Those slots
// are filled by all threads of the producer, who put zeros behind the rank; both blocks of a
// cluster go through as many of them as the widest adapter needs, since slots must stay in step.
//
// Reads (128 + kTileN) * K * 2 bytes a tile for 256 * kTileN * K operations. x and W must be
// aligned to 16 bytes with strides of a multiple of 8; all else may lie anywhere, and is copied in
// 16 bytes at a time where it does. Not measured yet.
#include "cuda/device.h"
#include "cuda/lora_tiles.h"
#include "cuda/tensor_map.h"
#include "cuda/warp_store.h"
#include "cuda/wgmma.h"
#include "cuda/wgmma_producer.h"
#include "cuda/wgmma_ring.h"

#ifdef __CUDACC__
// On other architectures the kernel is empty and nothing else here is referenced.
#pragma nv_diag_suppress 177
#endif

namespace glance {
namespace {

// Together the 64 K registers of a multiprocessor: a consumer has up to 128 sums in each thread.
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
// Of named_sync; the producer has 1.
constexpr int kStartBarrier = 2;

// Tells both blocks' producers that this warp is done with a slot.
template <int kTileN>
__device__ void release(const Shared<kTileN> &shared, int slot, int lane) {
  if (lane < kCluster) mbarrier_arrive_at(shared.empty(slot), static_cast<uint32_t>(lane));
}

// A consumer's 64 rows of a tile: its sums, and its way through the ring. A slot is released when
// the products after its own are under way, so that there are always some.
template <typename T, int kTileN>
struct Product {
  const Shared<kTileN> &shared;
  Position<kTileN> *at;
  int consumer;
  int lane;
  int previous = -1;

  // Over K. The first consumer's first tile lets the second one begin.
  __device__ void products(int32_t k, bool lets_begin, float (&sums)[kTileN / 2]) {
    const int32_t head_start = lesser(k, Ring<kTileN>::kHeadStart * kSlotK);
    for (int32_t done = 0; done < k; done += kSlotK) {
      mbarrier_wait(shared.full(at->slot), at->parity);
      const uint64_t left = left_operand();
      const uint64_t right = wgmma_operand(shared.right(at->slot));
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < kSlotK / 16; ++i) {
        wgmma<T>(sums, left + i * kWgmmaNextK, right + i * kWgmmaNextK, done + i > 0);
      }
      wgmma_commit();
      wgmma_wait<1>();
      if (previous >= 0) release(shared, previous, lane);
      previous = at->slot;
      at->next();
      if (lets_begin && done < head_start && done + kSlotK >= head_start) {
        named_arrive(kStartBarrier, kConsumers * kWarpgroup);
      }
    }
    wgmma_wait<0>();
    release(shared, previous, lane);
  }

  // Over the rank, in so many steps of 16.
  __device__ void up(int32_t steps, float (&sums)[kTileN / 2]) {
    for (; steps > 0; steps -= kSlotK / 16) {
      mbarrier_wait(shared.full(at->slot), at->parity);
      uint64_t left = left_operand();
      uint64_t right = wgmma_operand(shared.right(at->slot));
      for (int32_t i = lesser(steps, kSlotK / 16); i > 0; --i) {
        wgmma_fence();
        wgmma<T>(sums, left, right, 1);
        wgmma_commit();
        left += kWgmmaNextK;
        right += kWgmmaNextK;
      }
      wgmma_wait<0>();
      release(shared, at->slot, lane);
      at->next();
    }
  }

  __device__ uint64_t left_operand() const {
    constexpr int kRows = kTileRows / kConsumers;
    return wgmma_operand(shared.left(at->slot) + consumer * kRows * kSlotRowBytes);
  }
};

// The second consumer begins when the first is almost a ring ahead, and stays that far behind: so
// one multiplies, at twice the speed, while the other stores.
template <typename T, int kTileN>
__device__ void consume(const LoraParams &p, const Shared<kTileN> &shared, int consumer,
                        int thread) {
  const uint32_t block = cluster_rank();
  const int32_t units = unit_count<kTileN>(p);
  const int warp = shuffle(thread / 32, 0);
  const int lane = thread % 32;
  const int first_row = consumer * (kTileRows / kConsumers) + warp * kStoreRows;
  unsigned char *staged = shared.store(consumer * kWarps + warp);
  Position<kTileN> at;
  bool first = true;
  if (consumer != 0) named_sync(kStartBarrier, kConsumers * kWarpgroup);
  for (int32_t u = blockIdx.x / kCluster; u < units; u += gridDim.x / kCluster) {
    const Unit unit = unit_at<kTileN>(p, u);
    const RowTileParams rows = row_tile_of(p, unit.row_pair * kCluster + static_cast<int>(block));
    const LinearParams &l = p.linears[unit.linear];
    TileStore<T> store(l, rows.begin + first_row, lesser(rows.count - first_row, kStoreRows),
                       unit.column, staged, lane);
    store.begin();
    float sums[kTileN / 2];
    Product<T, kTileN> product = {shared, &at, consumer, lane};
    product.products(p.k, first && consumer == 0, sums);
    product.up(up_steps(p, l), sums);
    if (first) grid_dependency_wait();
    first = false;
    store.store(sums);
  }
}

template <typename T, int kTileN>
__global__ void __launch_bounds__(kThreads, 1)
    lora_tiles_wgmma_kernel(const __grid_constant__ LoraParams p,
                            const __grid_constant__ Maps maps) {
#ifdef GLANCE_HAS_WGMMA
  const Shared<kTileN> shared = {shared_memory()};
  // From lane 0, so that the compiler sees that it is the same for all of a warp.
  const int warpgroup = shuffle(static_cast<int>(threadIdx.x) / kWarpgroup, 0);
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Ring<kTileN>::kSlots; ++i) {
      mbarrier_init(shared.full(i), 1);
      mbarrier_init(shared.empty(i), kConsumers * kWarps * kCluster);
    }
    mbarrier_init_fence();
    tensor_prefetch(&maps.x);
    for (int i = 0; i < p.linear_count; ++i) tensor_prefetch(&maps.w[i]);
  }
  cluster_sync();
  if (warpgroup == 0) {
    fewer_registers<kProducerRegisters>();
    produce<kTileN>(p, maps, shared, thread);
  } else {
    more_registers<kConsumerRegisters>();
    consume<T, kTileN>(p, shared, warpgroup - 1, thread);
  }
  // The other block may still release slots to this one.
  cluster_sync();
#endif
}

bool describe(const LoraParams &p, glance_dtype dtype, int32_t tile_n, Maps *maps) {
  bool good = describe_matrix(&maps->x, dtype, p.x, p.rows, p.k, p.x_stride, kTileRows);
  for (int32_t i = 0; i < p.linear_count; ++i) {
    const LinearParams &l = p.linears[i];
    good = good &&
           describe_matrix(&maps->w[i], dtype, l.w, l.n, p.k, l.w_row_stride, tile_n / kCluster);
  }
  return good;
}

template <typename T, int kTileN>
glance_status launch_tiles(const LoraParams &p, glance_dtype dtype, int32_t multiprocessors,
                           cudaStream_t stream) {
  Maps maps;
  if (!describe(p, dtype, kTileN, &maps)) return tensor_map_failure("lora_linear");
  const int32_t clusters = lesser(unit_count<kTileN>(p), multiprocessors / kCluster);
  LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>(clusters * kCluster));
  shape.block = dim3(kThreads);
  shape.shared_bytes = Ring<kTileN>::kSharedBytes;
  shape.cluster = kCluster;
  shape.overlaps_previous = p.h != nullptr && p.h_from_previous != 0;
  return cuda_status("lora_linear: launch",
                     launch(shape, stream, lora_tiles_wgmma_kernel<T, kTileN>, p, maps));
}

// What a width costs: the turns that the clusters take, in units of 64 columns, times what a column
// of it costs in hundredths. Narrower tiles read x more often: of the L2 cache's bandwidth a column
// takes 1 : 1.17 : 1.5, and these charge for most of that. An estimate.
template <int kTileN>
int64_t cost(const LoraParams &p, int32_t multiprocessors, int64_t column_cost) {
  const int32_t clusters = multiprocessors / kCluster;
  const int32_t turns = (unit_count<kTileN>(p) + clusters - 1) / clusters;
  return turns * (kTileN / 64) * column_cost;
}

int32_t cheapest_width(const LoraParams &p, int32_t multiprocessors) {
  const int64_t wide = cost<256>(p, multiprocessors, 100);
  const int64_t medium = cost<192>(p, multiprocessors, 112);
  const int64_t narrow = cost<128>(p, multiprocessors, 140);
  if (narrow < wide && narrow < medium) return 128;
  return medium < wide ? 192 : 256;
}

int32_t units_of_width(const LoraParams &p, int32_t width) {
  if (width == 128) return unit_count<128>(p);
  return width == 192 ? unit_count<192>(p) : unit_count<256>(p);
}

template <typename T>
glance_status for_width(const LoraParams &p, glance_dtype dtype, int32_t tile_columns,
                        cudaStream_t stream) {
  int32_t multiprocessors = 0;
  const glance_status status = multiprocessor_count(&multiprocessors);
  if (status != GLANCE_OK) return status;
  switch (tile_columns != 0 ? tile_columns : cheapest_width(p, multiprocessors)) {
    case 128:
      return launch_tiles<T, 128>(p, dtype, multiprocessors, stream);
    case 192:
      return launch_tiles<T, 192>(p, dtype, multiprocessors, stream);
    default:
      return launch_tiles<T, 256>(p, dtype, multiprocessors, stream);
  }
}

bool takes_tensor_copies(const void *data, int64_t stride, int32_t columns) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 8 == 0 && stride >= columns;
}

}  // namespace

const char *why_not_wgmma(const LoraParams &params, glance_dtype dtype) noexcept {
  if (dtype == GLANCE_F32) return "dtype is F32";
  if (!takes_tensor_copies(params.x, params.x_stride, params.k)) {
    return "x is not aligned to 16 bytes with a stride of a multiple of 8";
  }
  for (int32_t i = 0; i < params.linear_count; ++i) {
    const LinearParams &l = params.linears[i];
    if (l.w_column_stride != 1) return "the elements of a weight's rows do not lie side by side";
    if (!takes_tensor_copies(l.w, l.w_row_stride, params.k)) {
      return "a weight is not aligned to 16 bytes with a row_stride of a multiple of 8";
    }
  }
  return nullptr;
}

int32_t idle_with_wgmma(const LoraParams &params, int32_t tile_columns) noexcept {
  int32_t multiprocessors = 0;
  if (multiprocessor_count(&multiprocessors) != GLANCE_OK) return 0;
  const int32_t width = tile_columns != 0 ? tile_columns : cheapest_width(params, multiprocessors);
  const int32_t clusters = multiprocessors / kCluster;
  const int32_t in_last_turn = units_of_width(params, width) % clusters;
  const int32_t idle = multiprocessors - kCluster * in_last_turn;
  return in_last_turn > 0 && idle >= multiprocessors / 2 ? idle : 0;
}

glance_status lora_tiles_wgmma(const LoraParams &params, glance_dtype dtype, int32_t tile_columns,
                               cudaStream_t stream) noexcept {
  if (dtype == GLANCE_F16) return for_width<f16>(params, dtype, tile_columns, stream);
  return for_width<bf16>(params, dtype, tile_columns, stream);
}

}  // namespace glance
