// Launches: what is refused, and when a kernel runs.
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/emulator/state.h"

namespace glance_emulator {
namespace {

constexpr size_t kMostParameterBytes = 32764;
constexpr size_t kMostShared80 = 163 << 10;

void check_launch(const Grid &grid) {
  const size_t threads = size_t{grid.block.x} * grid.block.y * grid.block.z;
  const size_t most_shared = device().compute_major >= 9 ? kMostShared : kMostShared80;
  if (threads == 0 || threads > kMostThreads) misuse("a block of %zu threads", threads);
  if (grid.shared_bytes > most_shared) {
    misuse("%zu bytes of shared memory; a block can have %zu", grid.shared_bytes, most_shared);
  }
  if (grid.parameter_bytes > kMostParameterBytes) {
    misuse("%zu bytes of kernel parameters; %zu are possible", grid.parameter_bytes,
           kMostParameterBytes);
  }
  if (grid.cluster == 0 || grid.cluster > kMostCluster || grid.grid.x % grid.cluster != 0) {
    misuse("clusters of %u blocks in a grid of %u", grid.cluster, grid.grid.x);
  }
  if (grid.cluster > 1) require(90, "a cluster");
  if (grid.grid.x > 0x7FFFFFFFu || grid.grid.y > 65535 || grid.grid.z > 65535) {
    misuse("a grid of (%u, %u, %u) blocks", grid.grid.x, grid.grid.y, grid.grid.z);
  }
}

std::mutex one_at_a_time;
// Launched, and not run: one, and those behind it that may overlap it.
std::vector<Grid> &pending() {
  static auto *all = new std::vector<Grid>;
  return *all;
}

void run_now(int launch);

void run_previous() {
  if (machine.previous < 0) return;
  const int previous = machine.previous;
  machine.previous = -1;
  run_now(previous);
}

void run_grid(const Grid &grid) {
  blockDim = grid.block;
  gridDim = grid.grid;
  std::vector<unsigned> clusters(size_t{grid.grid.x} * grid.grid.y * grid.grid.z / grid.cluster);
  std::iota(clusters.begin(), clusters.end(), 0u);
  for (size_t i = clusters.size(); i > 1; --i) {
    std::swap(clusters[i - 1], clusters[machine.random.below(static_cast<uint32_t>(i))]);
  }
  for (const unsigned cluster : clusters) run_cluster(cluster * grid.cluster);
  machine.blocks.clear();
}

// On a machine of its own, for a kernel that waits for this one is in the middle of its work.
void run_now(int launch) {
  Machine waiting = std::move(machine);
  const uint3 thread = threadIdx, block = blockIdx;
  const dim3 threads = blockDim, blocks = gridDim;
  machine = Machine();
  machine.random = waiting.random;
  machine.depth = waiting.grid == nullptr ? 0 : waiting.depth + 1;
  machine.grid = &pending()[static_cast<size_t>(launch)];
  machine.previous = launch - 1;
  if (machine.random.below(2) == 0) run_previous();
  run_grid(*machine.grid);
  run_previous();
  const Random random = machine.random;
  machine = std::move(waiting);
  machine.random = random;
  threadIdx = thread;
  blockIdx = block;
  blockDim = threads;
  gridDim = blocks;
}

void run_pending() {
  if (!pending().empty()) run_now(static_cast<int>(pending().size()) - 1);
  pending().clear();
}

}  // namespace

cudaError_t launch(const Grid &grid) {
  if (size_t{grid.grid.x} * grid.grid.y * grid.grid.z == 0) return cudaErrorInvalidConfiguration;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  seed_once();
  check_launch(grid);
  if (!grid.overlaps_previous || device().compute_major < 9) run_pending();
  pending().push_back(grid);
  return cudaSuccess;
}

void finish_launches() {
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  run_pending();
}

void grid_dependency_wait() { run_previous(); }

}  // namespace glance_emulator
