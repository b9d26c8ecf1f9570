// lora_linear on the CPU: cuts the outputs into register tiles and shares them among threads.
//
// Formula, shapes, types: glance/lora_linear.h. A tile is rows of one segment times a panel of W;
// its sums take in x times the panel of W over K, then h times the panel of B over the rank, and so
// the up-projection costs no pass over y. Rows are cut evenly (105 rows are 8 tiles of 13 or 14,
// not 7 of 14 and one of 7). Tiles are numbered panel by panel, and the threads take them in that
// order, some at a time, since those with GELU cost more. A panel is read from memory by one thread
// or two and then again from its second-level cache for each tile of rows.
//
// The down-projection comes first, shared by tiles of rows. A thread that is done with its part
// does not wait for the others before the products with W but only before it needs a row's h.
//
// x is copied to rows of a better length, together with the down-projection, where its own would
// hurt: at strides of a multiple of 2 KB the lines of 14 rows fall in two or fewer sets of the
// first-level cache; and a row of an odd number of bf16 ends in half a word.
#include "cpu/lora_linear.h"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstring>
#include <new>
#include <optional>

#include "core/adapters.h"
#include "core/matrix.h"
#include "core/packed_matrix.h"
#include "core/status.h"
#include "cpu/down_projection.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/tiles.h"

namespace glance {
namespace {

// The copy of x is limited to about this, and larger products run in parts: it must fit the last
// cache, for every panel reads it again.
constexpr int64_t kBlockBytes = 16 << 20;

void wait_until(const std::atomic<uint8_t> &done) noexcept {
  for (uint32_t turn = 0; done.load(std::memory_order_acquire) == 0; ++turn) wait_a_turn(turn);
}

// One call's rows from begin to end - 1.
class Block {
 public:
  Block(const glance_lora_linear_args &args, int64_t begin, int64_t end)
      : a_(args),
        kernels_(tile_kernels()),
        element_(dtype_bytes(args.dtype)),
        begin_(begin),
        end_(end),
        columns_(args.linears[0].weight->columns),
        units_(args.linears[0].weight->units),
        tile_rows_(tile_rows_of(args.dtype)) {}

  static bool copies_x(const glance_lora_linear_args &args) {
    const int64_t element = dtype_bytes(args.dtype);
    const int64_t columns = args.linears[0].weight->columns;
    return columns * element % 4 != 0 || (args.rows > 8 && args.x_stride * element % 2048 == 0);
  }

  glance_status run() noexcept {
    copy_x_ = copies_x(a_);
    const bool h_given = a_.h != nullptr;
    make_h_ = a_.adapters.adapter_count > 0 && !h_given;
    if (!lay_out()) {
      return fail(GLANCE_OUT_OF_MEMORY, "lora_linear: no memory for %" PRId64 " rows of workspace",
                  end_ - begin_);
    }
    cut_rows();
    count_panels();
    const int64_t tiles = row_tiles_ * panels_;
    std::atomic<int64_t> next{0};
    std::atomic<int64_t> next_tile{0};
    const double work = 2.0 * static_cast<double>(end_ - begin_) * static_cast<double>(columns_) *
                        static_cast<double>(panels_ * kernels_.columns);
    parallel(threads_worth(work, tiles), [&](int thread, int threads) {
      if (copy_x_ || make_h_) prepare(thread, threads);
      // Whole panels while each thread can have one, so that a panel is read once; then single tiles,
      // so that all threads end together.
      const int64_t whole = threads == 1 ? panels_ : panels_ / threads * threads;
      for (int64_t i = next++; i < whole; i = next++) multiply(i * row_tiles_, row_tiles_);
      const int64_t rest = whole * row_tiles_;
      for (int64_t i = rest + next_tile++; i < tiles; i = rest + next_tile++) multiply(i, 1);
    });
    return GLANCE_OK;
  }

 private:
  // Places the workspace in the thread's scratch memory.
  bool lay_out() noexcept {
    const int64_t rows = end_ - begin_;
    const int64_t capacity = (rows + tile_rows_ - 1) / tile_rows_ + a_.adapters.segment_count + 1;
    const int64_t tiles_bytes = capacity * static_cast<int64_t>(sizeof(RowTile));
    // An odd number of lines, so that rows do not fall in one set of the cache.
    x_stride_bytes_ = copy_x_ ? (units_ * 4 + 64) / 128 * 128 + 64 : a_.x_stride * element_;
    const int64_t h_columns_rounded = (h_columns(a_.adapters) + 1) / 2 * 2;
    h_stride_bytes_ = make_h_ ? h_columns_rounded * element_ : a_.h_stride * element_;
    const int64_t x_bytes = copy_x_ ? rows * x_stride_bytes_ : 0;
    const int64_t h_bytes = make_h_ ? (rows * h_stride_bytes_ + 63) / 64 * 64 : 0;
    static thread_local Scratch scratch;
    char *memory = scratch.reserve(static_cast<size_t>(x_bytes + h_bytes + tiles_bytes + capacity));
    if (memory == nullptr) return false;
    x_copy_ = memory;
    h_made_ = memory + x_bytes;
    tiles_ = reinterpret_cast<RowTile *>(memory + x_bytes + h_bytes);
    ready_ = reinterpret_cast<std::atomic<uint8_t> *>(memory + x_bytes + h_bytes + tiles_bytes);
    x_ = copy_x_ ? x_copy_ : static_cast<const char *>(a_.x) + begin_ * x_stride_bytes_;
    h_ = h_made_;
    if (a_.h != nullptr) h_ = static_cast<const char *>(a_.h) + begin_ * h_stride_bytes_;
    return true;
  }

  void cut_segment(int64_t begin, int64_t end, int32_t adapter) {
    const int64_t count = (end - begin + tile_rows_ - 1) / tile_rows_;
    for (int64_t i = 0; i < count; ++i) {
      tiles_[row_tiles_] = row_tile(begin, end - begin, i, count, adapter);
      new (&ready_[row_tiles_]) std::atomic<uint8_t>(0);
      ++row_tiles_;
    }
  }

  // Tiles keep to one segment, so that each has one adapter.
  void cut_rows() {
    row_tiles_ = 0;
    if (a_.adapters.segment_count == 0) return cut_segment(0, end_ - begin_, -1);
    for (int i = 0; i < a_.adapters.segment_count; ++i) {
      const glance_segment &s = a_.adapters.segments[i];
      const int64_t from = std::max(s.begin, begin_);
      const int64_t to = std::min(s.end, end_);
      if (from < to) cut_segment(from - begin_, to - begin_, s.adapter);
    }
  }

  void count_panels() {
    panels_ = 0;
    for (int i = 0; i < a_.linear_count; ++i) panels_ += a_.linears[i].weight->panel_count();
  }

  const char *x_row(int64_t row) const { return x_ + row * x_stride_bytes_; }

  // Copies the tile's rows of x and makes its rows of h.
  void prepare(int thread, int threads) {
    for (int64_t i = share_begin(row_tiles_, thread, threads);
         i < share_begin(row_tiles_, thread + 1, threads); ++i) {
      const RowTile &tile = tiles_[i];
      if (copy_x_) copy(tile);
      if (make_h_ && tile.adapter >= 0) down(tile);
      ready_[i].store(1, std::memory_order_release);
    }
  }

  void copy(const RowTile &tile) {
    const int64_t bytes = columns_ * element_;
    for (int64_t row = tile.begin; row < tile.begin + tile.rows; ++row) {
      char *to = x_copy_ + row * x_stride_bytes_;
      memcpy(to, static_cast<const char *>(a_.x) + (begin_ + row) * a_.x_stride * element_,
             static_cast<size_t>(bytes));
      if (bytes < units_ * 4) memset(to + bytes, 0, static_cast<size_t>(units_ * 4 - bytes));
    }
  }

  void down(const RowTile &tile);

  void multiply(int64_t first, int64_t count) {
    int64_t panel = first / row_tiles_;
    int64_t row = first % row_tiles_;
    int linear = 0;
    while (panel >= a_.linears[linear].weight->panel_count()) {
      panel -= a_.linears[linear++].weight->panel_count();
    }
    for (int64_t i = 0; i < count; ++i) {
      multiply_tile(linear, panel, tiles_[row], ready_[row]);
      if (++row < row_tiles_) continue;
      row = 0;
      if (++panel < a_.linears[linear].weight->panel_count()) continue;
      panel = 0;
      ++linear;
    }
  }

  void multiply_tile(int linear, int64_t panel, const RowTile &tile,
                     const std::atomic<uint8_t> &ready);

  const glance_lora_linear_args &a_;
  const TileKernels &kernels_;
  const int64_t element_;
  const int64_t begin_;
  const int64_t end_;
  const int64_t columns_;
  const int64_t units_;
  const int64_t tile_rows_;
  bool copy_x_ = false;
  bool make_h_ = false;
  int64_t x_stride_bytes_ = 0;
  int64_t h_stride_bytes_ = 0;
  int64_t row_tiles_ = 0;
  int64_t panels_ = 0;
  const char *x_ = nullptr;
  const char *h_ = nullptr;
  char *x_copy_ = nullptr;
  char *h_made_ = nullptr;
  RowTile *tiles_ = nullptr;
  std::atomic<uint8_t> *ready_ = nullptr;
};

void Block::down(const RowTile &tile) {
  const glance_adapter &adapter = a_.adapters.adapters[tile.adapter];
  DownTile{*adapter.down,   adapter.scale, x_row(tile.begin),
           x_stride_bytes_, tile.rows,     h_made_ + tile.begin * h_stride_bytes_,
           h_stride_bytes_, a_.dtype}
      .run();
}

void Block::multiply_tile(int linear, int64_t panel, const RowTile &tile,
                          const std::atomic<uint8_t> &ready) {
  const glance_linear &l = a_.linears[linear];
  const glance_matrix &w = *l.weight;
  const int64_t first = panel * kernels_.columns;
  const int used = static_cast<int>(std::min<int64_t>(kernels_.columns, w.rows - first));
  // x's rows are whole words.
  TileTerm terms[1 + TileInput::kMostTerms] = {
      {x_row(tile.begin), x_stride_bytes_, w.panel(panel), units_}};
  int count = 1;
  const glance_up *up =
      tile.adapter < 0 ? nullptr : &a_.ups[tile.adapter * a_.linear_count + linear];
  if (copy_x_ || (make_h_ && up != nullptr)) wait_until(ready);
  std::optional<TileInput> input;
  if (up != nullptr && up->up != nullptr) {
    const char *h = h_ + tile.begin * h_stride_bytes_ + up->first * element_;
    input.emplace(h, h_stride_bytes_, tile.rows, up->up->columns, a_.dtype);
    count += input->terms(up->up->panel(panel), terms + 1);
  }
  alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
  const int64_t row = begin_ + tile.begin;
  const auto at = [&](const void *base, int64_t r, int64_t stride) {
    return base == nullptr ? nullptr
                           : static_cast<const char *>(base) + (r * stride + first) * element_;
  };
  const TileOutput output = {static_cast<char *>(l.y) + (row * l.y_stride + first) * element_,
                             l.y_stride,
                             at(l.bias, 0, 0),
                             at(l.gate, 0, 0),
                             l.gate_stride,
                             row,
                             l.rows_per_gate,
                             at(l.residual, row, l.residual_stride),
                             l.residual_stride,
                             l.epilogue};
  if (a_.dtype == GLANCE_F32) {
    kernels_.sums_f32(terms, count, tile.rows, used, sums);
    kernels_.finish_f32(output, sums, tile.rows, used);
  } else {
    kernels_.sums_bf16(terms, count, tile.rows, used, sums);
    kernels_.finish_bf16(output, sums, tile.rows, used);
  }
}

}  // namespace

glance_status lora_linear_cpu(const glance_lora_linear_args &args) noexcept {
  const int64_t row_bytes = args.linears[0].weight->units * 4;
  const int64_t most = std::max<int64_t>(kBlockBytes / row_bytes, 8 * kMaxTileRows);
  const int64_t blocks = (args.rows + most - 1) / most;
  // The first block is the largest, so that if there is memory for it there is for all.
  const int64_t block_rows = (args.rows + blocks - 1) / blocks;
  for (int64_t begin = 0; begin < args.rows; begin += block_rows) {
    const int64_t end = std::min(begin + block_rows, args.rows);
    const glance_status status = Block(args, begin, end).run();
    if (status != GLANCE_OK) return status;
  }
  return GLANCE_OK;
}

}  // namespace glance
