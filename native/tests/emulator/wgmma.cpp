// Warpgroup-level matrix instructions (wgmma), from the PTX ISA manual: asynchronous products of
// operands in shared memory.
//
// A product is done at once or as late as the first wait that covers it, as drawn for the cluster.
// From its start to its warp's wait the accumulators hold NaN patterns, and the sums are kept here.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "math/element.h"
#include "tests/emulator/state.h"

namespace glance_emulator {
namespace {

constexpr unsigned kWarps = 4;
constexpr unsigned kAllWarps = 15;
constexpr unsigned kRows = 64;
constexpr unsigned kDepth = 16;
constexpr unsigned kMostColumns = 256;
constexpr uint32_t kTouched = 0x7FA57FA5u;

// The sums behind the accumulators of all four warps, while they are in flight.
struct Sums {
  unsigned columns = 0;
  // Warps that have not got theirs back.
  unsigned users = 0;
  float values[kRows][kMostColumns];
};

struct Product {
  uint64_t a;
  uint64_t b;
  int accumulate;
  unsigned columns;
  bool f16;
  unsigned sums;
  bool late;
};

// A warp's accumulators in flight.
struct Accumulators {
  float *d[kLanes];
  unsigned sums;
  // The product that adds to them last, and how many there were before it.
  size_t latest;
};

struct WarpProducts {
  size_t issued = 0;
  // After how many products each of its groups ends.
  std::vector<size_t> groups;
  std::vector<Accumulators> accumulators;
  bool fenced = false;
  // How many products must be done for it to go on; 0 if it does not wait.
  size_t waits_for = 0;
};

}  // namespace

struct Warpgroup {
  std::vector<Product> products;
  size_t done = 0;
  std::vector<size_t> groups;
  std::vector<std::unique_ptr<Sums>> sums;
  WarpProducts warps[kWarps];
};

void DeleteWarpgroup::operator()(Warpgroup *group) const { delete group; }

namespace {

Warpgroup &warpgroup_of(Warp &warp) {
  Block &block = *warp.block;
  const size_t index = warp.index / kWarps;
  if ((index + 1) * kWarps > block.warps.size()) {
    misuse("wgmma: warp %u is not in a whole warpgroup", warp.index);
  }
  if (block.warpgroups.size() <= index) block.warpgroups.resize(index + 1);
  if (block.warpgroups[index] == nullptr) block.warpgroups[index].reset(new Warpgroup);
  return *block.warpgroups[index];
}

// --- Products ---

// The matrix descriptor, K inside ("K-major"): start address >> 4 in bits 0 to 13, the bytes from
// eight rows to the next eight >> 4 in bits 32 to 45, base offset in 49 to 51, swizzle in 62
// and 63.
struct Operand {
  uint32_t start;
  uint32_t eight_rows;

  explicit Operand(uint64_t descriptor)
      : start(static_cast<uint32_t>(descriptor & 0x3FFF) << 4),
        eight_rows(static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) << 4) {
    constexpr uint64_t kSwizzle128 = 1;
    if (descriptor >> 62 != kSwizzle128) misuse("wgmma: an operand without 128-byte swizzle");
    if ((descriptor >> 49 & 7) != 0 || (start & 0x380u) != 0) {
      misuse("wgmma: an operand whose first row is not aligned to 1024 bytes");
    }
  }
};

template <typename T>
void fetch(Block &block, const Operand &operand, unsigned row, float (&values)[kDepth]) {
  for (uint32_t byte = 0; byte < 2 * kDepth; byte += 16) {
    uint32_t address = operand.start + row / 8 * operand.eight_rows + row % 8 * 128 + byte;
    address ^= address >> 3 & 0x70u;
    if (address < kFirstShared || address - kFirstShared + 16 > machine.grid->shared_bytes) {
      misuse("wgmma: row %u of an operand is outside shared memory", row);
    }
    T elements[8];
    std::memcpy(elements, block.shared + address - kFirstShared, sizeof elements);
    for (unsigned e = 0; e < 8; ++e) values[byte / 2 + e] = glance::to_f32(elements[e]);
  }
}

typedef float Vector __attribute__((vector_size(32)));
constexpr unsigned kVector = sizeof(Vector) / sizeof(float);

template <typename T>
void multiply(Block &block, const Product &product, Sums &sums) {
  static Vector right[kDepth][kMostColumns / kVector];
  const Operand a(product.a);
  const Operand b(product.b);
  for (unsigned n = 0; n < product.columns; ++n) {
    float values[kDepth];
    fetch<T>(block, b, n, values);
    for (unsigned k = 0; k < kDepth; ++k) right[k][n / kVector][n % kVector] = values[k];
  }
  for (unsigned m = 0; m < kRows; ++m) {
    float left[kDepth];
    fetch<T>(block, a, m, left);
    for (unsigned n = 0; n < product.columns; n += kVector) {
      Vector sum = {};
      for (unsigned k = 0; k < kDepth; ++k) sum += left[k] * right[k][n / kVector];
      Vector before = {};
      if (product.accumulate != 0) std::memcpy(&before, &sums.values[m][n], sizeof before);
      sum += before;
      std::memcpy(&sums.values[m][n], &sum, sizeof sum);
    }
  }
}

// All products before `end` are done.
void finish(Block &block, Warpgroup &group, size_t end) {
  for (; group.done < end; ++group.done) {
    const Product &product = group.products[group.done];
    Sums &sums = *group.sums[product.sums];
    if (product.f16) {
      multiply<glance::f16>(block, product, sums);
    } else {
      multiply<glance::bf16>(block, product, sums);
    }
  }
}

// --- Accumulators: row 16 w + l / 4 + 8 j, column 8 i + 2 (l % 4) + c in d[4 i + 2 j + c] ---

template <typename Use>
void for_accumulators(unsigned warp, unsigned columns, const Use &use) {
  for (unsigned l = 0; l < kLanes; ++l) {
    for (unsigned e = 0; e < columns / 2; ++e) {
      const unsigned row = 16 * warp + l / 4 + 8 * (e / 2 % 2);
      const unsigned column = 8 * (e / 4) + 2 * (l % 4) + e % 2;
      use(l, e, row, column);
    }
  }
}

unsigned take_sums(Warpgroup &group, unsigned columns) {
  size_t index = 0;
  while (index < group.sums.size() && group.sums[index]->users != 0) ++index;
  if (index == group.sums.size()) group.sums.push_back(std::make_unique<Sums>());
  group.sums[index]->columns = columns;
  group.sums[index]->users = kWarps;
  return static_cast<unsigned>(index);
}

// The sums go into the accumulators, and those into the kernel's hands.
void give_back(Warpgroup &group, unsigned index, size_t done) {
  WarpProducts &warp = group.warps[index];
  std::vector<Accumulators> &all = warp.accumulators;
  for (size_t i = all.size(); i-- > 0;) {
    if (all[i].latest >= done) continue;
    Sums &sums = *group.sums[all[i].sums];
    for_accumulators(index, sums.columns,
                     [&](unsigned l, unsigned e, unsigned row, unsigned column) {
                       all[i].d[l][e] = sums.values[row][column];
                     });
    --sums.users;
    all.erase(all.begin() + static_cast<ptrdiff_t>(i));
    warp.fenced = false;
  }
}

void hold(Warp &warp, unsigned index, Sums &sums, bool load) {
  for_accumulators(index, sums.columns, [&](unsigned l, unsigned e, unsigned row, unsigned column) {
    float &d = warp.argument<WgmmaArguments>(l).d[e];
    if (load) sums.values[row][column] = d;
    std::memcpy(&d, &kTouched, sizeof d);
  });
}

void check_untouched(const Accumulators &own, unsigned index, unsigned columns) {
  for_accumulators(index, columns, [&](unsigned l, unsigned e, unsigned, unsigned) {
    if (std::memcmp(&own.d[l][e], &kTouched, sizeof kTouched) != 0) {
      misuse("wgmma: lane %u touched accumulator %u before wgmma_wait", l, e);
    }
  });
}

// --- What the warps do ---

// Lets the warps go on whose products all four have issued.
void check_waiting(Block &block, Warpgroup &group, unsigned first_warp) {
  size_t issued = group.products.size();
  for (const WarpProducts &warp : group.warps) issued = std::min(issued, warp.issued);
  for (unsigned w = 0; w < kWarps; ++w) {
    WarpProducts &warp = group.warps[w];
    if (warp.waits_for == 0 || warp.waits_for > issued) continue;
    finish(block, group, warp.waits_for);
    give_back(group, w, warp.waits_for);
    warp.waits_for = 0;
    wake(block.warps[first_warp + w]);
  }
}

const Product &next_product(Warpgroup &group, unsigned index, const WgmmaArguments &arguments) {
  const WarpProducts &warp = group.warps[index];
  if (warp.issued == group.products.size()) {
    const auto flying =
        std::find_if(warp.accumulators.begin(), warp.accumulators.end(),
                     [&](const Accumulators &each) { return each.d[0] == arguments.d; });
    const unsigned sums =
        flying != warp.accumulators.end() ? flying->sums : take_sums(group, arguments.columns);
    group.products.push_back({arguments.a, arguments.b, arguments.accumulate, arguments.columns,
                              arguments.f16, sums, machine.random.below(2) < machine.laziness});
  }
  return group.products[warp.issued];
}

void issue(Warp &warp) {
  Warpgroup &group = warpgroup_of(warp);
  const unsigned index = warp.index % kWarps;
  WarpProducts &own = group.warps[index];
  const WgmmaArguments &first = warp.argument<WgmmaArguments>(0);
  const Product product = next_product(group, index, first);
  for (unsigned l = 0; l < kLanes; ++l) {
    const WgmmaArguments &lane = warp.argument<WgmmaArguments>(l);
    if (lane.a != product.a || lane.b != product.b || lane.accumulate != product.accumulate ||
        lane.columns != product.columns || lane.f16 != product.f16) {
      misuse("wgmma: lane %u of warp %u multiplies something else than its warpgroup", l,
             warp.index);
    }
  }
  auto flying = std::find_if(own.accumulators.begin(), own.accumulators.end(),
                             [&](const Accumulators &each) { return each.d[0] == first.d; });
  if (flying == own.accumulators.end()) {
    if (!own.fenced) misuse("wgmma: no wgmma_fence after the accumulators were the kernel's");
    hold(warp, index, *group.sums[product.sums], product.accumulate != 0);
    Accumulators fresh = {};
    for (unsigned l = 0; l < kLanes; ++l) fresh.d[l] = warp.argument<WgmmaArguments>(l).d;
    fresh.sums = product.sums;
    own.accumulators.push_back(fresh);
    flying = own.accumulators.end() - 1;
  } else {
    if (flying->sums != product.sums || group.sums[product.sums]->columns != product.columns) {
      misuse("wgmma: warp %u adds to other accumulators than its warpgroup", warp.index);
    }
    check_untouched(*flying, index, product.columns);
  }
  flying->latest = own.issued;
  ++own.issued;
  wake(warp);
  size_t issued = group.products.size();
  for (const WarpProducts &each : group.warps) issued = std::min(issued, each.issued);
  if (issued > group.done && !product.late) finish(*warp.block, group, issued);
  check_waiting(*warp.block, group, warp.index - index);
}

void commit(Warp &warp) {
  Warpgroup &group = warpgroup_of(warp);
  WarpProducts &own = group.warps[warp.index % kWarps];
  own.groups.push_back(own.issued);
  const size_t number = own.groups.size();
  if (number > group.groups.size()) {
    group.groups.push_back(own.issued);
  } else if (group.groups[number - 1] != own.issued) {
    misuse("wgmma_commit: warp %u has another group than its warpgroup", warp.index);
  }
  wake(warp);
}

void wait(Warp &warp) {
  Warpgroup &group = warpgroup_of(warp);
  const unsigned index = warp.index % kWarps;
  WarpProducts &own = group.warps[index];
  const size_t groups = static_cast<size_t>(warp.operation.detail);
  if (own.groups.size() <= groups || own.groups[own.groups.size() - groups - 1] == 0) {
    wake(warp);
    return;
  }
  own.waits_for = own.groups[own.groups.size() - groups - 1];
  check_waiting(*warp.block, group, warp.index - index);
}

void fence(Warp &warp) {
  warpgroup_of(warp).warps[warp.index % kWarps].fenced = true;
  wake(warp);
}

}  // namespace

void wgmma(WgmmaArguments &arguments) {
  require(90, "wgmma");
  collective({"wgmma", 0, true, issue}, &arguments);
}

void wgmma_fence() {
  require(90, "wgmma_fence");
  collective({"wgmma_fence", 0, true, fence}, nullptr);
}

void wgmma_commit() {
  require(90, "wgmma_commit");
  collective({"wgmma_commit", 0, true, commit}, nullptr);
}

void wgmma_wait(unsigned groups) {
  require(90, "wgmma_wait");
  collective({"wgmma_wait", groups, true, wait}, nullptr);
}

}  // namespace glance_emulator
