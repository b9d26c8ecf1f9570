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

#ifdef __CUDACC__
// On other architectures the kernel is empty and nothing else here is referenced.
#pragma nv_diag_suppress 177
#endif

namespace glance {
namespace {

// 128 bytes: the widest swizzle.
constexpr int kSlotK = 64;
constexpr int kSlotRowBytes = 2 * kSlotK;
constexpr int kConsumers = 2;
constexpr int kWarpgroup = 128;
constexpr int kThreads = kWarpgroup * (1 + kConsumers);
constexpr int kCluster = 2;
constexpr int kWarps = kWarpgroup / 32;

// Together the 64 K registers of a multiprocessor: a consumer has up to 128 sums in each thread.
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;
// Of named_sync.
constexpr int kProducerBarrier = 1;
constexpr int kStartBarrier = 2;

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

struct Maps {
  TensorMap x;
  TensorMap w[GLANCE_MAX_LINEARS];
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
__host__ __device__ int32_t column_tiles(const LinearParams &l) {
  return (l.n + kTileN - 1) / kTileN;
}

__host__ __device__ int32_t row_pairs(const LoraParams &p) {
  return (p.row_tiles + kCluster - 1) / kCluster;
}

template <int kTileN>
__host__ __device__ int32_t unit_count(const LoraParams &p) {
  int32_t columns = 0;
  for (int32_t i = 0; i < p.linear_count; ++i) columns += column_tiles<kTileN>(p.linears[i]);
  return columns * row_pairs(p);
}

template <int kTileN>
__device__ Unit unit_at(const LoraParams &p, int32_t index) {
  const int32_t pairs = row_pairs(p);
  int32_t column = index / pairs;
  const int32_t row_pair = index - column * pairs;
  int32_t linear = 0;
  while (column >= column_tiles<kTileN>(p.linears[linear])) {
    column -= column_tiles<kTileN>(p.linears[linear++]);
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

GLANCE_DEVICE int32_t rank_of(const LinearParams &l, const RowTileParams &rows) {
  return rows.adapter < 0 ? 0 : l.up[rows.adapter].rank;
}

// A matrix of 16-bit elements that is copied into a slot's layout by plain threads.
struct Source {
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
__device__ void fill(unsigned char *slot, const Source &source, int32_t first, int32_t places,
                     int thread) {
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
  const Source h = {static_cast<const uint16_t *>(p.h) + rows.begin * p.h_stride + up.first,
                    p.h_stride, 1, rows.count, rank};
  const Source b = {static_cast<const uint16_t *>(up.b) + unit.column * up.row_stride,
                    up.row_stride, up.column_stride, l.n - unit.column, rank};
  int32_t steps = up_steps(p, l);
  // Threads that have nothing to load before sleep here until then.
  if (steps > 0) named_sync(kProducerBarrier, kWarpgroup);
  for (int32_t first = 0; steps > 0; first += kSlotK, steps -= kSlotK / 16, at->next()) {
    const int32_t places = 2 * lesser(steps, kSlotK / 16);
    mbarrier_wait(shared.empty(at->slot), at->parity ^ 1);
    fill<kTileRows>(shared.left(at->slot), h, first, places, thread);
    fill<kTileN>(shared.right(at->slot), b, first, places, thread);
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
