// Which thread runs, and what a block begins and ends with.
#include "tests/emulator/machine.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "tests/emulator/state.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes)
#endif

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace glance_emulator {

Machine machine;

namespace {

constexpr size_t kMostLanes = kMostThreads * kMostCluster;
// On both sides of shared memory.
constexpr size_t kGuardBytes = 1024;
constexpr unsigned char kGuard = 0xA5;

bool seeded = false;
unsigned first_seed = 0;

// Before main(), so that tests and emulator have one seed.
const int drawn = setenv("GLANCE_TEST_SEED", std::to_string(std::random_device()()).c_str(), 0);

// --- Which lane runs ---

void add_ready(Warp &warp, uint32_t lanes) {
  if (warp.ready == 0 && lanes != 0) machine.ready.push_back(&warp);
  warp.ready |= lanes;
}

void remove_ready(Warp &warp, uint32_t lanes) {
  warp.ready &= ~lanes;
  if (warp.ready != 0) return;
  const auto place = std::find(machine.ready.begin(), machine.ready.end(), &warp);
  *place = machine.ready.back();
  machine.ready.pop_back();
}

[[noreturn]] void deadlock() {
  std::fprintf(stderr, "emulated CUDA: deadlock, no thread can go on\n");
  for (const auto &block : machine.blocks) {
    for (const Warp &warp : block->warps) {
      if (warp.live == 0) continue;
      std::fprintf(stderr, "  block (%u, %u, %u) warp %u:", block->index.x, block->index.y,
                   block->index.z, warp.index);
      const char *latest = nullptr;
      for (unsigned l = 0; l < kLanes; ++l) {
        if ((warp.live >> l & 1u) == 0 || warp.lanes[l].waiting == latest) continue;
        latest = warp.lanes[l].waiting;
        std::fprintf(stderr, " from lane %u at %s;", l, latest);
      }
      if (~warp.live != 0) std::fprintf(stderr, " ended: %08x", ~warp.live);
      std::fprintf(stderr, "\n");
    }
  }
  machine.current = nullptr;
  misuse("deadlock");
}

Warp &choose_warp() {
  if (machine.order != Order::any && machine.latest != nullptr && machine.latest->ready != 0) {
    return *machine.latest;
  }
  if (machine.order == Order::ranked) {
    return **std::max_element(machine.ready.begin(), machine.ready.end(),
                              [](Warp *a, Warp *b) { return a->priority < b->priority; });
  }
  return *machine.ready[machine.random.below(static_cast<uint32_t>(machine.ready.size()))];
}

// Null when all have ended.
Lane *next_lane() {
  if (machine.live_lanes == 0) return nullptr;
  const auto land_any = [] {
    land(machine.random.below(static_cast<uint32_t>(machine.flights.size())));
  };
  if (machine.latency != 0 && !machine.flights.empty() &&
      machine.random.below(machine.latency) == 0) {
    land_any();
  }
  while (machine.ready.empty()) {
    if (machine.flights.empty()) deadlock();
    land_any();
  }
  Warp &warp = choose_warp();
  machine.latest = &warp;
  // The first one at or behind a random place.
  const uint32_t turn = machine.random.below(kLanes);
  const uint32_t behind = warp.ready >> turn << turn;
  const int number = __builtin_ctz(behind != 0 ? behind : warp.ready);
  Lane &lane = warp.lanes[number];
  remove_ready(warp, lane.bit());
  return &lane;
}

Fiber &make_current(Lane *lane) {
  machine.current = lane;
  if (lane == nullptr) return machine.host;
  lane->waiting = nullptr;
  threadIdx = lane->index;
  blockIdx = lane->warp->block->index;
  return lane->fiber;
}

void run_others() {
  Lane *from = machine.current;
  Lane *next = next_lane();
  Fiber &to = make_current(next);
  if (next != from) change(from->fiber, to);
}

// --- Warps ---

void complete(Warp &warp) {
  const uint32_t missing = ~warp.arrived;
  if (warp.operation.whole && missing != 0) {
    misuse("%s needs all 32 lanes of warp %u, but lanes %08x have ended", warp.operation.name,
           warp.index, missing);
  }
  warp.operation.execute(warp);
}

// --- Blocks ---

// Kept for the next block with this number.
unsigned char *shared_of(unsigned number) {
  static std::vector<unsigned char *> *memory = new std::vector<unsigned char *>;
  while (memory->size() <= number) {
    void *place = nullptr;
    if (posix_memalign(&place, 1024, kMostShared + 2 * kGuardBytes) != 0) {
      misuse("no memory for shared memory");
    }
    memory->push_back(static_cast<unsigned char *>(place));
  }
  return (*memory)[number] + kGuardBytes;
}

void make_shared(Block &block) {
  block.shared = shared_of(machine.depth * kMostCluster + block.rank);
  unsigned char *end = block.shared + machine.grid->shared_bytes;
  ASAN_UNPOISON_MEMORY_REGION(block.shared - kGuardBytes, kMostShared + 2 * kGuardBytes);
  poison(block.shared, machine.grid->shared_bytes);
  std::memset(block.shared - kGuardBytes, kGuard, kGuardBytes);
  std::memset(end, kGuard, kGuardBytes);
  ASAN_POISON_MEMORY_REGION(block.shared - kGuardBytes, kGuardBytes);
  ASAN_POISON_MEMORY_REGION(end, kMostShared + kGuardBytes - machine.grid->shared_bytes);
}

void check_guards(const Block &block) {
  const unsigned char *end = block.shared + machine.grid->shared_bytes;
  ASAN_UNPOISON_MEMORY_REGION(block.shared - kGuardBytes, kMostShared + 2 * kGuardBytes);
  for (size_t i = 0; i < kGuardBytes; ++i) {
    if (end[i] != kGuard || (end - machine.grid->shared_bytes - kGuardBytes)[i] != kGuard) {
      misuse("shared memory was written outside its %zu bytes", machine.grid->shared_bytes);
    }
  }
}

void end_block(Block &block) {
  for (const Flight &flight : machine.flights) {
    if (flight.block == &block) misuse("the block ended while a tensor copy to it was on its way");
  }
  check_guards(block);
}

[[noreturn]] void end_lane() {
  Lane &lane = *machine.current;
  Warp &warp = *lane.warp;
  Block &block = *warp.block;
  --machine.live_lanes;
  warp.live &= ~lane.bit();
  if (warp.live == 0) {
    --block.live_warps;
    --machine.cluster_live_warps;
    if (block.live_warps == 0) end_block(block);
    check_barriers(block);
  } else if (warp.arrived != 0 && warp.arrived == warp.live) {
    complete(warp);
  }
  Fiber &to = make_current(next_lane());
  leave(lane.fiber, to);
}

void begin_lane() {
  entered();
  machine.grid->run(machine.grid->call.get());
  end_lane();
}

void prepare_block(Block &block, unsigned first_lane) {
  const Grid &grid = *machine.grid;
  const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
  make_shared(block);
  block.live_warps = (threads + kLanes - 1) / kLanes;
  machine.cluster_live_warps += block.live_warps;
  block.warps.resize(block.live_warps);
  for (unsigned w = 0; w < block.live_warps; ++w) {
    Warp &warp = block.warps[w];
    warp.block = &block;
    warp.index = w;
    warp.lanes = &(*machine.lanes)[first_lane + w * kLanes];
    warp.priority = machine.random.next();
    const unsigned count = std::min(kLanes, threads - w * kLanes);
    warp.live = count == kLanes ? kAllLanes : (1u << count) - 1;
    for (unsigned l = 0; l < count; ++l) {
      Lane &lane = warp.lanes[l];
      const unsigned thread = w * kLanes + l;
      lane.warp = &warp;
      lane.number = l;
      lane.index = {thread % grid.block.x, thread / grid.block.x % grid.block.y,
                    thread / grid.block.x / grid.block.y};
      lane.waiting = nullptr;
      lane.copies.clear();
      lane.groups.clear();
      allocate_stack(lane.fiber, machine.depth * kMostLanes + first_lane + thread);
      prepare(lane.fiber, begin_lane);
    }
    machine.live_lanes += count;
    add_ready(warp, warp.live);
  }
}

}  // namespace

Device &device() {
  static Device only = [] {
    Device made;
    const char *set = std::getenv("GLANCE_EMULATED_CAPABILITY");
    const int capability = set != nullptr ? std::atoi(set) : 0;
    if (capability > 0) made.compute_major = capability / 10;
    if (capability > 0) made.compute_minor = capability % 10;
    return made;
  }();
  return only;
}

void set_seed(unsigned seed) {
  seeded = true;
  first_seed = seed;
  machine.random.seed(seed);
}

void seed_once() {
  if (seeded) return;
  set_seed(static_cast<unsigned>(std::strtoul(std::getenv("GLANCE_TEST_SEED"), nullptr, 10)));
}

void run_cluster(unsigned first_block) {
  const Grid &grid = *machine.grid;
  const unsigned threads = grid.block.x * grid.block.y * grid.block.z;
  const unsigned lanes = (threads + kLanes - 1) / kLanes * kLanes;
  constexpr uint32_t kLatencies[] = {2, 16, 256, 0};
  machine.latency = kLatencies[machine.random.below(4)];
  machine.laziness = machine.random.below(3);
  machine.order = static_cast<Order>(machine.random.below(static_cast<uint32_t>(Order::kCount)));
  machine.ready.clear();
  machine.latest = nullptr;
  machine.live_lanes = 0;
  machine.cluster_live_warps = 0;
  machine.blocks.clear();
  if (machine.lanes == nullptr || machine.lanes->size() < lanes * grid.cluster) {
    machine.lanes = std::make_unique<std::vector<Lane>>(lanes * grid.cluster);
  }
  for (unsigned rank = 0; rank < grid.cluster; ++rank) {
    const unsigned number = first_block + rank;
    machine.blocks.push_back(std::make_unique<Block>());
    Block &block = *machine.blocks.back();
    block.index = {number % grid.grid.x, number / grid.grid.x % grid.grid.y,
                   number / grid.grid.x / grid.grid.y};
    block.rank = rank;
    prepare_block(block, rank * lanes);
  }
  Fiber &to = make_current(next_lane());
  change(machine.host, to);
}

void misuse(const char *format, ...) {
  std::fprintf(stderr, "emulated CUDA: ");
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "\n");
  if (machine.current != nullptr) {
    const Lane &lane = *machine.current;
    const uint3 &block = lane.warp->block->index;
    std::fprintf(stderr, "  in block (%u, %u, %u), thread (%u, %u, %u)\n", block.x, block.y,
                 block.z, lane.index.x, lane.index.y, lane.index.z);
  }
  if (machine.grid != nullptr) {
    const Grid &grid = *machine.grid;
    std::fprintf(stderr, "  of a grid of (%u, %u, %u) x (%u, %u, %u): %s\n", grid.grid.x,
                 grid.grid.y, grid.grid.z, grid.block.x, grid.block.y, grid.block.z, grid.kernel);
  }
  std::fprintf(stderr, "  GLANCE_TEST_SEED=%u\n", first_seed);
  std::abort();
}

void require(int capability, const char *what) {
  const int has = device().compute_major * 10 + device().compute_minor;
  if (has < capability) misuse("%s on a device of compute capability %d", what, has);
}

unsigned char *shared_memory() { return this_block().shared; }

uint32_t shared_offset(const void *shared, size_t bytes, size_t alignment, const char *what) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(this_block().shared);
  const uintptr_t address = reinterpret_cast<uintptr_t>(shared);
  if (address < begin || address - begin + bytes > machine.grid->shared_bytes) {
    misuse("%s: not within the block's %zu bytes of shared memory", what,
           machine.grid->shared_bytes);
  }
  if (address % alignment != 0) misuse("%s: not aligned to %zu bytes", what, alignment);
  return static_cast<uint32_t>(address - begin);
}

uint32_t shared_address(const void *shared) {
  return kFirstShared + shared_offset(shared, 1, 1, "shared_address");
}

void poison(void *memory, size_t bytes) {
  auto *place = static_cast<unsigned char *>(memory);
  for (size_t i = 0; i + 1 < bytes; i += 2) std::memcpy(place + i, &kPoison, 2);
  if (bytes % 2 != 0) place[bytes - 1] = static_cast<unsigned char>(kPoison >> 8);
}

void wake(Lane &lane) { add_ready(*lane.warp, lane.bit()); }

void wake(Warp &warp) {
  add_ready(warp, warp.arrived);
  warp.arrived = 0;
}

void wait_here(const char *what) {
  machine.current->waiting = what;
  run_others();
}

void others() {
  if (machine.random.below(4) != 0) return;
  wake(*machine.current);
  run_others();
}

void collective(const Operation &operation, void *argument) {
  Lane &lane = *machine.current;
  Warp &warp = *lane.warp;
  if (warp.arrived == 0) {
    warp.operation = operation;
  } else if (warp.operation.name != operation.name || warp.operation.detail != operation.detail) {
    misuse("a lane of warp %u is at %s while others are at %s", warp.index, operation.name,
           warp.operation.name);
  }
  warp.arguments[lane.number] = argument;
  warp.arrived |= lane.bit();
  if (warp.arrived == warp.live) {
    complete(warp);
    if ((warp.ready & lane.bit()) != 0) {
      remove_ready(warp, lane.bit());
      return;
    }
  }
  wait_here(operation.name);
}

}  // namespace glance_emulator
