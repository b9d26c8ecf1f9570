#include "cpu/down_projection.h"

#include <algorithm>

#include "core/matrix.h"
#include "cpu/threads.h"
#include "cpu/tiles.h"

namespace glance {

void DownTile::run() const noexcept {
  const TileKernels &kernels = tile_kernels();
  const int64_t element = dtype_bytes(out_dtype);
  const auto sum = a.dtype == GLANCE_F32 ? kernels.sums_f32 : kernels.sums_bf16;
  const auto store = out_dtype == GLANCE_F32 ? kernels.scale_f32 : kernels.scale_bf16;
  const TileInput input(x, x_stride_bytes, rows, a.columns, a.dtype);
  TileTerm terms[TileInput::kMostTerms];
  alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
  for (int64_t panel = 0; panel < a.panel_count(); ++panel) {
    const int64_t first = panel * kernels.columns;
    const int used = static_cast<int>(std::min<int64_t>(kernels.columns, a.rows - first));
    const int count = input.terms(a.panel(panel), terms);
    sum(terms, count, rows, used, sums);
    store(out + first * element, out_stride_bytes / element, scale, sums, rows, used);
  }
}

void project_down(const glance_adapter_table &adapters, glance_dtype dtype, const void *y,
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
      const DownTile down = {
          *adapter.down, adapter.scale, static_cast<const char *>(y) + tile.begin * y_bytes,
          y_bytes,       tile.rows,     static_cast<char *>(h) + tile.begin * h_bytes,
          h_bytes,       dtype};
      down.run();
    }
  }
}

void project_f32(const glance_matrix &a, const void *x, int64_t x_stride, int64_t rows,
                 float *out) noexcept {
  const int64_t tile_rows = tile_rows_of(a.dtype);
  const int64_t x_bytes = x_stride * dtype_bytes(a.dtype);
  const int64_t out_bytes = a.rows * dtype_bytes(GLANCE_F32);
  const int64_t count = (rows + tile_rows - 1) / tile_rows;
  const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(a.rows) *
                      static_cast<double>(a.columns);
  parallel(threads_worth(work, count), [&](int thread, int threads) {
    for (int64_t t = share_begin(count, thread, threads);
         t < share_begin(count, thread + 1, threads); ++t) {
      const RowTile tile = row_tile(0, rows, t, count, 0);
      const DownTile down = {
          a,         1.0f,      static_cast<const char *>(x) + tile.begin * x_bytes,
          x_bytes,   tile.rows, reinterpret_cast<char *>(out) + tile.begin * out_bytes,
          out_bytes, GLANCE_F32};
      down.run();
    }
  });
}

}  // namespace glance
