// Copies that arrive later, and the barriers in shared memory that count them.
#include <cstring>

#include "tests/emulator/state.h"

namespace glance_emulator {
namespace {

// --- mbarrier: its 64 bits, as the emulator lays them out ---

constexpr unsigned kCountBits = 20;
constexpr uint32_t kMostCount = (1u << kCountBits) - 1;

struct MbarrierState {
  uint32_t phase;
  // Arrivals still to come in this phase, and at the start of each.
  uint32_t pending;
  uint32_t arrivals;
  // Bytes still to come; below zero if they came before they were expected.
  int32_t bytes;
};

MbarrierState unpack(uint64_t word) {
  MbarrierState state;
  state.phase = static_cast<uint32_t>(word & 1);
  state.pending = static_cast<uint32_t>(word >> 1) & kMostCount;
  state.arrivals = static_cast<uint32_t>(word >> (1 + kCountBits)) & kMostCount;
  state.bytes = static_cast<int32_t>(static_cast<int64_t>(word) >> (1 + 2 * kCountBits));
  return state;
}

uint64_t pack(const MbarrierState &state) {
  return state.phase | uint64_t{state.pending} << 1 | uint64_t{state.arrivals} << (1 + kCountBits) |
         static_cast<uint64_t>(int64_t{state.bytes}) << (1 + 2 * kCountBits);
}

uint64_t *word_at(Block &block, uint32_t offset) {
  return reinterpret_cast<uint64_t *>(block.shared + offset);
}

bool is_mbarrier(const Block &block, uint32_t offset) {
  for (const uint32_t known : block.mbarriers) {
    if (known == offset) return true;
  }
  return false;
}

MbarrierState load(Block &block, uint32_t offset, const char *what) {
  if (block.live_warps == 0) misuse("%s: block %u of the cluster has ended", what, block.rank);
  if (!is_mbarrier(block, offset)) {
    misuse("%s: no mbarrier was initialised at %u in block %u of the cluster", what, offset,
           block.rank);
  }
  return unpack(*word_at(block, offset));
}

// Ends the phase if nothing is to come any more.
void store(Block &block, uint32_t offset, MbarrierState state) {
  const bool ends = state.pending == 0 && state.bytes == 0;
  if (ends) {
    state.phase ^= 1;
    state.pending = state.arrivals;
  }
  *word_at(block, offset) = pack(state);
  if (!ends) return;
  size_t kept = 0;
  for (const Waiter &waiter : block.waiters) {
    if (waiter.offset == offset && waiter.parity != state.phase) {
      wake(*waiter.lane);
    } else {
      block.waiters[kept++] = waiter;
    }
  }
  block.waiters.resize(kept);
}

void arrive(Block &block, uint32_t offset, uint32_t bytes, const char *what) {
  MbarrierState state = load(block, offset, what);
  if (state.pending == 0) {
    misuse("%s: more arrivals at the mbarrier at %u in block %u than its %u", what, offset,
           block.rank, state.arrivals);
  }
  if (bytes > kMostCount || state.bytes + static_cast<int64_t>(bytes) > kMostCount) {
    misuse("%s: the mbarrier at %u in block %u would expect more than %u bytes", what, offset,
           block.rank, kMostCount);
  }
  state.bytes += static_cast<int32_t>(bytes);
  --state.pending;
  store(block, offset, state);
}

uint32_t offset_of(uint64_t *barrier, const char *what) {
  require(90, what);
  return shared_offset(barrier, 8, 8, what);
}

// --- Tensor copies ---

// What the copy engine does with an address.
uint32_t swizzled(uint32_t address, CUtensorMapSwizzle swizzle) {
  switch (swizzle) {
    case CU_TENSOR_MAP_SWIZZLE_128B:
      return address ^ (address >> 3 & 0x70u);
    case CU_TENSOR_MAP_SWIZZLE_64B:
      return address ^ (address >> 3 & 0x30u);
    case CU_TENSOR_MAP_SWIZZLE_32B:
      return address ^ (address >> 3 & 0x10u);
    case CU_TENSOR_MAP_SWIZZLE_NONE:
      break;
  }
  return address;
}

uint32_t box_row_bytes(const CUtensorMap &map) { return map.box_columns * map.element_bytes; }
uint32_t box_bytes(const CUtensorMap &map) { return map.box_rows * box_row_bytes(map); }

void land_rows(const Flight &flight) {
  const CUtensorMap &map = flight.map;
  const int64_t per_chunk = 16 / map.element_bytes;
  for (uint32_t r = 0; r < map.box_rows; ++r) {
    const int64_t row = int64_t{flight.row} + r;
    const bool row_there = row >= 0 && row < static_cast<int64_t>(map.rows);
    const unsigned char *from =
        map.global + (row_there ? row : 0) * static_cast<int64_t>(map.row_bytes);
    for (uint32_t byte = 0; byte < box_row_bytes(map); byte += 16) {
      const uint32_t address = kFirstShared + flight.offset + r * box_row_bytes(map) + byte;
      unsigned char *to = flight.block->shared + swizzled(address, map.swizzle) - kFirstShared;
      const int64_t column = int64_t{flight.column} + byte / map.element_bytes;
      std::memset(to, 0, 16);
      for (int64_t e = 0; e < per_chunk && row_there; ++e) {
        if (column + e < 0 || column + e >= static_cast<int64_t>(map.columns)) continue;
        std::memcpy(to + e * map.element_bytes, from + (column + e) * map.element_bytes,
                    map.element_bytes);
      }
    }
  }
}

}  // namespace

void land(size_t index) {
  const Flight flight = machine.flights[index];
  machine.flights[index] = machine.flights.back();
  machine.flights.pop_back();
  land_rows(flight);
  MbarrierState state = load(*flight.block, flight.barrier, "a tensor copy that arrives");
  state.bytes -= static_cast<int32_t>(box_bytes(flight.map));
  if (state.bytes < -static_cast<int32_t>(kMostCount)) {
    misuse("more than %u bytes came to the mbarrier at %u in block %u that it does not expect",
           kMostCount, flight.barrier, flight.block->rank);
  }
  store(*flight.block, flight.barrier, state);
}

void tensor_load(void *shared, const void *map, uint64_t *barrier, int column, int row,
                 uint32_t blocks) {
  const char *what = "tensor_load";
  const uint32_t barrier_offset = offset_of(barrier, what);
  if (reinterpret_cast<uintptr_t>(map) % 64 != 0) misuse("tensor_load: a map not aligned to 64");
  Flight flight;
  std::memcpy(&flight.map, map, sizeof flight.map);
  if (flight.map.encoded != 1) misuse("tensor_load: a map that nobody has encoded");
  flight.offset = shared_offset(shared, box_bytes(flight.map), 128, what);
  flight.barrier = barrier_offset;
  flight.column = column;
  flight.row = row;
  if (blocks == 0 || blocks >> machine.blocks.size() != 0) {
    misuse("tensor_load: blocks %x of a cluster of %zu", blocks, machine.blocks.size());
  }
  for (const auto &block : machine.blocks) {
    if ((blocks >> block->rank & 1u) == 0) continue;
    flight.block = block.get();
    load(*block, barrier_offset, what);
    poison(block->shared + flight.offset, box_bytes(flight.map));
    machine.flights.push_back(flight);
  }
  others();
}

void mbarrier_init(uint64_t *barrier, uint32_t arrivals) {
  const uint32_t offset = offset_of(barrier, "mbarrier_init");
  Block &block = this_block();
  if (arrivals == 0 || arrivals > kMostCount) misuse("mbarrier_init: %u arrivals", arrivals);
  if (is_mbarrier(block, offset)) {
    misuse("mbarrier_init: there is an mbarrier at %u already", offset);
  }
  block.mbarriers.push_back(offset);
  *barrier = pack({0, arrivals, arrivals, 0});
}

void mbarrier_arrive_expect(uint64_t *barrier, uint32_t bytes) {
  const char *what = "mbarrier_arrive_expect";
  arrive(this_block(), offset_of(barrier, what), bytes, what);
  others();
}

void mbarrier_arrive(uint64_t *barrier) {
  const char *what = "mbarrier_arrive";
  arrive(this_block(), offset_of(barrier, what), 0, what);
  others();
}

void mbarrier_arrive_at(uint64_t *barrier, uint32_t block) {
  const char *what = "mbarrier_arrive_at";
  const uint32_t offset = offset_of(barrier, what);
  if (block >= machine.blocks.size()) {
    misuse("mbarrier_arrive_at: block %u of a cluster of %zu", block, machine.blocks.size());
  }
  arrive(*machine.blocks[block], offset, 0, what);
  others();
}

void mbarrier_wait(uint64_t *barrier, uint32_t parity) {
  const char *what = "mbarrier_wait";
  const uint32_t offset = offset_of(barrier, what);
  if (parity > 1) misuse("mbarrier_wait: parity %u", parity);
  Block &block = this_block();
  if (load(block, offset, what).phase != parity) return;
  block.waiters.push_back({machine.current, offset, parity});
  wait_here(what);
}

// --- Copies of 16 bytes ---

void copy_async_16(void *shared, const void *global, int bytes) {
  require(80, "copy_async_16");
  shared_offset(shared, 16, 16, "copy_async_16");
  if (bytes < 0 || bytes > 16) misuse("copy_async_16: %d bytes", bytes);
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0) {
    misuse("copy_async_16: global memory that is not aligned to 16 bytes");
  }
  PendingCopy copy = {};
  copy.to = static_cast<unsigned char *>(shared);
  copy.from = static_cast<const unsigned char *>(global);
  copy.bytes = bytes;
  copy.taken = machine.random.below(2) == 0;
  if (copy.taken && bytes > 0) std::memcpy(copy.data, global, static_cast<size_t>(bytes));
  // It may have begun: what was there must not be read any more.
  poison(shared, 16);
  machine.current->copies.push_back(copy);
}

void copy_async_commit() {
  require(80, "copy_async_commit");
  Lane &lane = *machine.current;
  lane.groups.push_back(lane.copies.size());
}

void copy_async_wait(unsigned groups) {
  require(80, "copy_async_wait");
  Lane &lane = *machine.current;
  if (lane.groups.size() <= groups) return;
  const size_t done_groups = lane.groups.size() - groups;
  const size_t done = lane.groups[done_groups - 1];
  for (size_t i = 0; i < done; ++i) {
    PendingCopy &copy = lane.copies[i];
    if (!copy.taken && copy.bytes > 0) {
      std::memcpy(copy.data, copy.from, static_cast<size_t>(copy.bytes));
    }
    std::memcpy(copy.to, copy.data, 16);
  }
  lane.copies.erase(lane.copies.begin(), lane.copies.begin() + static_cast<ptrdiff_t>(done));
  lane.groups.erase(lane.groups.begin(), lane.groups.begin() + static_cast<ptrdiff_t>(done_groups));
  for (size_t &end : lane.groups) end -= done;
}

}  // namespace glance_emulator
