#include "cpu/down_projection.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/matrix.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/tile.h"

namespace glance {

int64_t tile_rows_of(glance_dtype dtype) noexcept {
  return dtype == GLANCE_F32 ? tile_kernels().rows_f32 : tile_kernels().rows_bf16;
}

void copy_odd(const char *x, int64_t stride_bytes, int rows, int64_t columns, char *to) noexcept {
  for (int i = 0; i < rows; ++i) {
    char *row = to + i * 2 * (columns + 1);
    memcpy(row, x + i * stride_bytes, static_cast<size_t>(2 * columns));
    memset(row + 2 * columns, 0, 2);
  }
}

void DownTile::run() const noexcept {
  const TileKernels &kernels = tile_kernels();
  const int64_t element = dtype_bytes(out_dtype);
  const auto sum = a.dtype == GLANCE_F32 ? kernels.sums_f32 : kernels.sums_bf16;
  const auto store = out_dtype == GLANCE_F32 ? kernels.scale_f32 : kernels.scale_bf16;
  alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
  for (int64_t panel = 0; panel < a.panel_count(); ++panel) {
    const int64_t first = panel * kernels.columns;
    const int used = static_cast<int>(std::min<int64_t>(kernels.columns, a.rows - first));
    const TileTerm term = {x, x_stride_bytes, a.panel(panel), a.units};
    sum(&term, 1, rows, used, sums);
    store(out + first * element, out_stride_bytes / element, scale, sums, rows, used);
  }
}

bool DownTile::run_any() noexcept {
  if (a.dtype == GLANCE_BF16 && a.columns % 2 != 0) {
    static thread_local Scratch scratch;
    char *copy = scratch.reserve(static_cast<size_t>(rows * 2 * (a.columns + 1)));
    if (copy == nullptr) return false;
    copy_odd(x, x_stride_bytes, rows, a.columns, copy);
    x = copy;
    x_stride_bytes = 2 * (a.columns + 1);
  }
  run();
  return true;
}

bool project_down(const glance_adapter_table &adapters, glance_dtype dtype, const void *y,
                  int64_t y_stride, void *h, int64_t h_stride, int64_t row_begin,
                  int64_t row_end) noexcept {
  const int64_t tile_rows = tile_rows_of(dtype);
  const int64_t y_bytes = y_stride * dtype_bytes(dtype);
  const int64_t h_bytes = h_stride * dtype_bytes(dtype);
  for (int i = 0; i < adapters.segment_count; ++i) {
    const glance_segment &s = adapters.segments[i];
    const int64_t from = std::max(s.begin, row_begin);
    const int64_t rows = std::min(s.end, row_end) - from;
    if (rows <= 0 || s.adapter < 0) continue;
    const glance_adapter &adapter = adapters.adapters[s.adapter];
    const int64_t count = (rows + tile_rows - 1) / tile_rows;
    for (int64_t t = 0; t < count; ++t) {
      const RowTile tile = row_tile(from, rows, t, count, s.adapter);
      DownTile down = {*adapter.down,
                       adapter.scale,
                       static_cast<const char *>(y) + tile.begin * y_bytes,
                       y_bytes,
                       tile.rows,
                       static_cast<char *>(h) + tile.begin * h_bytes,
                       h_bytes,
                       dtype};
      if (!down.run_any()) return false;
    }
  }
  return true;
}

bool project_f32(const glance_matrix &a, const void *x, int64_t x_stride, int64_t rows,
                 float *out) noexcept {
  const int64_t tile_rows = tile_rows_of(a.dtype);
  const int64_t x_bytes = x_stride * dtype_bytes(a.dtype);
  const int64_t out_bytes = a.rows * dtype_bytes(GLANCE_F32);
  const int64_t count = (rows + tile_rows - 1) / tile_rows;
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(a.rows) *
                      static_cast<double>(a.columns);
  std::atomic<bool> done{true};
  parallel(threads_worth(work, count), [&](int thread, int threads) {
    for (int64_t t = share_begin(count, thread, threads);
         t < share_begin(count, thread + 1, threads); ++t) {
      const RowTile tile = row_tile(0, rows, t, count, 0);
      DownTile down = {a,
                       1.0f,
                       static_cast<const char *>(x) + tile.begin * x_bytes,
                       x_bytes,
                       tile.rows,
                       reinterpret_cast<char *>(out) + tile.begin * out_bytes,
                       out_bytes,
                       GLANCE_F32};
      if (!down.run_any()) done.store(false, std::memory_order_relaxed);
    }
  });
  return done.load(std::memory_order_relaxed);
}

}  // namespace glance
