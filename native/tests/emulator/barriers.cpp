// What warps do together, and the barriers that they wait at.
#include "tests/emulator/state.h"

namespace glance_emulator {
namespace {

void release(Barrier &barrier) {
  barrier.expected = 0;
  barrier.passed = 0;
  for (Warp *warp : barrier.waiting) wake(*warp);
  barrier.waiting.clear();
}

// Barrier 0 waits for the warps that have not ended.
void check_block_barrier(Block &block) {
  Barrier &barrier = block.barriers[0];
  if (!barrier.waiting.empty() && barrier.waiting.size() >= block.live_warps) release(barrier);
}

void check_cluster_barrier() {
  Barrier &barrier = machine.cluster_barrier;
  if (!barrier.waiting.empty() && barrier.waiting.size() >= machine.cluster_live_warps) {
    release(barrier);
  }
}

void arrive_block(Warp &warp) {
  warp.block->barriers[0].waiting.push_back(&warp);
  check_block_barrier(*warp.block);
}

void arrive_cluster(Warp &warp) {
  machine.cluster_barrier.waiting.push_back(&warp);
  check_cluster_barrier();
}

// A warp at a named barrier; waits decides whether it stays there until the others have come.
void come_to_named(Warp &warp, bool waits) {
  const unsigned id = static_cast<unsigned>(warp.operation.detail >> 32);
  const unsigned warps = static_cast<unsigned>(warp.operation.detail & 0xFFFFFFFFu) / kLanes;
  Barrier &barrier = warp.block->barriers[id];
  if (barrier.expected != 0 && barrier.expected != warps) {
    misuse("named_sync: barrier %u has %u threads for some warps and %u for others", id,
           barrier.expected * kLanes, warps * kLanes);
  }
  barrier.expected = warps;
  if (waits) {
    barrier.waiting.push_back(&warp);
  } else {
    ++barrier.passed;
    wake(warp);
  }
  if (barrier.waiting.size() + barrier.passed == warps) release(barrier);
}

void arrive_named(Warp &warp) { come_to_named(warp, true); }

void pass_named(Warp &warp) { come_to_named(warp, false); }

// Which barrier and how many threads, as Operation::detail.
uint64_t named_detail(const char *name, int id, int threads) {
  const Grid &grid = *machine.grid;
  const int block = static_cast<int>(grid.block.x * grid.block.y * grid.block.z);
  if (id < 1 || id > 15) misuse("%s: barrier %d; 1 to 15 are possible", name, id);
  if (threads <= 0 || threads % 32 != 0 || threads > block) {
    misuse("%s: %d threads of a block's %d", name, threads, block);
  }
  return uint64_t{static_cast<unsigned>(id)} << 32 | static_cast<unsigned>(threads);
}

}  // namespace

void check_barriers(Block &block) {
  check_block_barrier(block);
  check_cluster_barrier();
}

unsigned lane() { return machine.current->number; }

void shuffle(ShuffleArguments &arguments) {
  static const Operation operation = {
      "shuffle", 0, false, [](Warp &warp) {
        uint64_t values[kLanes];
        for (unsigned l = 0; l < kLanes; ++l) {
          const bool there = (warp.arrived >> l & 1u) != 0;
          values[l] =
              there ? warp.argument<ShuffleArguments>(l).value : 0x0001000100010001u * kPoison;
        }
        for (unsigned l = 0; l < kLanes; ++l) {
          if ((warp.arrived >> l & 1u) == 0) continue;
          ShuffleArguments &own = warp.argument<ShuffleArguments>(l);
          own.value = values[own.source];
        }
        wake(warp);
      }};
  collective(operation, &arguments);
}

void warp_sync() {
  collective({"warp_sync", 0, false, [](Warp &warp) { wake(warp); }}, nullptr);
}

void block_sync() { collective({"block_sync", 0, false, arrive_block}, nullptr); }

void named_sync(int id, int threads) {
  collective({"named_sync", named_detail("named_sync", id, threads), false, arrive_named}, nullptr);
}

void named_arrive(int id, int threads) {
  collective({"named_arrive", named_detail("named_arrive", id, threads), false, pass_named},
             nullptr);
}

uint32_t cluster_rank() { return this_block().rank; }

void cluster_sync() {
  require(90, "cluster_sync");
  collective({"cluster_sync", 0, false, arrive_cluster}, nullptr);
}

}  // namespace glance_emulator
