// Panels are streamed, and where they lie on pages of 4 KB their addresses must be looked up every
// 64 cache lines, in tables that the caches have forgotten by then. A matrix smaller than huge
// pages shares them with others: they lie one after another in blocks, which are given back when
// the last matrix in them is. A model's are made and freed together, so hardly more is kept.
//
// Measured, a virtual Xeon with 2 cores, November 2026, a model with matrices of 0.1 to 0.6 MB, in
// turns: ten denoising steps after other work took 3.5% less time on huge pages, decoding 4%.
#include "cpu/panel_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace glance {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// Of this size and more a matrix wastes little of huge pages of its own.
constexpr size_t kLarge = 2 * kHugePage;
// Of which only the pages that hold something are in memory. Aligned to its size, so that a
// matrix's address tells its block.
constexpr size_t kBlock = 8 * kHugePage;

constexpr size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void *on_huge_pages(size_t alignment, size_t bytes) noexcept {
  void *memory = std::aligned_alloc(alignment, bytes);
#if defined(MADV_HUGEPAGE)
  // Only a hint.
  if (memory != nullptr) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

#if defined(__SANITIZE_ADDRESS__)
// Each for itself, so that reads beyond a matrix are found.
constexpr bool kShared = false;
#else
constexpr bool kShared = true;
#endif

// At the beginning of a block.
struct alignas(kLine) Block {
  // Bytes from the beginning, this included.
  size_t used = sizeof(Block);
  int matrices = 0;
};

class Blocks {
 public:
  // bytes: whole cache lines, less than kLarge.
  void *take(size_t bytes) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (filling_ == nullptr || filling_->used + bytes > kBlock) {
      void *memory = on_huge_pages(kBlock, kBlock);
      if (memory == nullptr) return nullptr;
      Block *full = filling_;
      filling_ = new (memory) Block;
      if (full != nullptr && full->matrices == 0) std::free(full);
    }
    char *memory = reinterpret_cast<char *>(filling_) + filling_->used;
    filling_->used += bytes;
    ++filling_->matrices;
    return memory;
  }

  void give_back(void *memory, size_t bytes) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
    auto *block = reinterpret_cast<Block *>(address / kBlock * kBlock);
    if (--block->matrices == 0) {
      if (block != filling_) return std::free(block);
      block->used = sizeof(Block);
    } else if (address % kBlock + bytes == block->used) {
      // The last one taken: matrices made for a moment take the same place again and again.
      block->used -= bytes;
    }
  }

 private:
  std::mutex mutex_;
  Block *filling_ = nullptr;
};

Blocks blocks;

bool shares(size_t bytes) { return kShared && bytes < kLarge; }

}  // namespace

void *take_panel_memory(size_t bytes) noexcept {
  const size_t lines = rounded(bytes, kLine);
  if (shares(bytes)) return blocks.take(lines);
  if (bytes < kLarge) return std::aligned_alloc(kLine, lines);
  return on_huge_pages(kHugePage, rounded(bytes, kHugePage));
}

void give_back_panel_memory(void *memory, size_t bytes) noexcept {
  if (memory == nullptr || !shares(bytes)) return std::free(memory);
  blocks.give_back(memory, rounded(bytes, kLine));
}

}  // namespace glance
