// What the emulator's own files share: the state of the cluster of blocks that runs.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/emulator/fiber.h"
#include "tests/emulator/machine.h"

namespace glance_emulator {

struct Block;
struct Warp;

constexpr unsigned kLanes = 32;
constexpr uint32_t kAllLanes = 0xFFFFFFFFu;
constexpr size_t kMostThreads = 1024;
constexpr unsigned kMostCluster = 8;
constexpr size_t kMostShared = 227 << 10;
// A NaN in every type of 16 bits, and in pairs in f32.
constexpr uint16_t kPoison = 0x7FA5;
// Where a block's shared memory begins, as an address.
constexpr uint32_t kFirstShared = 1024;

class Random {
 public:
  void seed(uint64_t seed) { state_ = seed * 0x9E3779B97F4A7C15u + 0x1234567u; }
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(uint64_t{next()} * limit >> 31); }

 private:
  uint64_t state_ = 1;
};

// A copy of copy_async_16 that has not been waited for.
struct PendingCopy {
  unsigned char *to;
  const unsigned char *from;
  int bytes;
  // Whether the bytes were read when the copy was issued.
  bool taken;
  unsigned char data[16];
};

struct Lane {
  Fiber fiber;
  Warp *warp = nullptr;
  unsigned number = 0;
  uint3 index = {};
  // What it waits for, for messages.
  const char *waiting = nullptr;
  std::vector<PendingCopy> copies;
  // After how many of them each committed group ends.
  std::vector<size_t> groups;

  uint32_t bit() const { return 1u << number; }
};

// An operation that a warp's lanes do together. Two are the same if name and detail are.
struct Operation {
  const char *name;
  uint64_t detail;
  // All 32 lanes must be there.
  bool whole;
  // Called once all are; calls wake(warp) when they may go on.
  void (*execute)(Warp &warp);
};

struct Warp {
  Block *block = nullptr;
  unsigned index = 0;
  Lane *lanes = nullptr;
  // Lanes that have not ended, that can go on, and that have come to the operation.
  uint32_t live = 0;
  uint32_t ready = 0;
  uint32_t arrived = 0;
  Operation operation = {};
  void *arguments[kLanes] = {};
  uint32_t priority = 0;

  template <typename T>
  T &argument(unsigned lane) {
    return *static_cast<T *>(arguments[lane]);
  }
};

// bar.sync, or barrier.cluster.
struct Barrier {
  // Of named_sync; 0 until the first warp says.
  unsigned expected = 0;
  // Warps that came with named_arrive.
  unsigned passed = 0;
  std::vector<Warp *> waiting;
};

struct Waiter {
  Lane *lane;
  uint32_t offset;
  uint32_t parity;
};

// A tensor copy on its way to one block.
struct Flight {
  CUtensorMap map;
  Block *block;
  uint32_t offset;
  uint32_t barrier;
  int column;
  int row;
};

struct Warpgroup;
struct DeleteWarpgroup {
  void operator()(Warpgroup *group) const;
};

struct Block {
  uint3 index = {};
  unsigned rank = 0;
  unsigned char *shared = nullptr;
  std::vector<Warp> warps;
  unsigned live_warps = 0;
  Barrier barriers[16];
  // Where mbarriers were initialised, as offsets.
  std::vector<uint32_t> mbarriers;
  std::vector<Waiter> waiters;
  std::vector<std::unique_ptr<Warpgroup, DeleteWarpgroup>> warpgroups;
};

// In which order what can go on does.
enum class Order {
  // Any lane of any warp.
  any,
  // A warp as far as it gets, then any other.
  sticky,
  // A warp as far as it gets, then the one that comes first in an order of its own.
  ranked,
  kCount
};

struct Machine {
  const Grid *grid = nullptr;
  // How many kernels are running: this one is nested in those that wait for it.
  unsigned depth = 0;
  // What waits to run before it, or -1.
  int previous = -1;
  std::vector<std::unique_ptr<Block>> blocks;
  std::unique_ptr<std::vector<Lane>> lanes;
  unsigned live_lanes = 0;
  unsigned cluster_live_warps = 0;
  Barrier cluster_barrier;
  std::vector<Warp *> ready;
  Warp *latest = nullptr;
  Lane *current = nullptr;
  Fiber host;
  std::vector<Flight> flights;
  // One in so many turns lands a flight; 0: they land when nothing else can go on.
  uint32_t latency = 0;
  // How many halves of the products are done as late as they may.
  uint32_t laziness = 0;
  Order order = Order::any;
  Random random;
};
extern Machine machine;

inline Warp &this_warp() { return *machine.current->warp; }
inline Block &this_block() { return *machine.current->warp->block; }

// Runs the blocks of the cluster whose first block has this number.
void run_cluster(unsigned first_block);
// Sets the seed unless that has been done.
void seed_once();
// To be called when a warp has ended, for those that wait at barriers without it.
void check_barriers(Block &block);

// Has the current lane's warp do the operation, and waits until it is done.
void collective(const Operation &operation, void *argument);
// Lets the lanes that have come to the operation go on.
void wake(Warp &warp);
void wake(Lane &lane);
// The current lane stops here until woken.
void wait_here(const char *what);
// Now and then lets others run before this lane goes on.
void others();
// The offset of memory of this block's shared memory; misuse if [shared, shared + bytes) is not.
uint32_t shared_offset(const void *shared, size_t bytes, size_t alignment, const char *what);
void poison(void *memory, size_t bytes);

// Lands one of machine.flights.
void land(size_t flight);

}  // namespace glance_emulator
