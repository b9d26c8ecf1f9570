// Reads each element of W once and writes it once, some 32 rows side by side, so that the lines of
// both sides stay in the first-level cache. Large matrices are packed by all threads.
#include "cpu/pack.h"

#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstdlib>
#include <cstring>

#include "core/status.h"
#include "cpu/threads.h"
#include "cpu/tile.h"

namespace glance {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// Below this many elements starting threads costs more than it saves.
constexpr int64_t kParallelElements = 1 << 16;

// Words of a row that are taken together: a cache line of f32.
constexpr int64_t kBlock = 16;

template <typename Element>
uint32_t word(const Element *row, int64_t unit, int64_t columns, int64_t stride) {
  if constexpr (sizeof(Element) == 4) {
    return row[unit * stride];
  } else {
    const int64_t k = 2 * unit;
    const uint32_t odd = k + 1 < columns ? row[(k + 1) * stride] : 0;
    return row[k * stride] | odd << 16;
  }
}

template <typename Element>
void pack_panel(const glance_matrix_args &args, glance_matrix &matrix, int64_t panel) {
  const int64_t width = matrix.panel_columns;
  const int64_t first = panel * width;
  const int64_t rows = std::min(width, matrix.rows - first);
  const auto *data = static_cast<const Element *>(args.data) + first * args.row_stride;
  uint32_t *out = matrix.panels + panel * width * matrix.units;
  for (int64_t begin = 0; begin < matrix.units; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, matrix.units);
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t u = begin; u < end; ++u) {
        out[u * width + j] =
            j < rows ? word(data + j * args.row_stride, u, args.columns, args.column_stride) : 0;
      }
    }
  }
}

uint32_t *allocate(size_t bytes) noexcept {
  const bool large = bytes >= 2 * kHugePage;
  void *memory = std::aligned_alloc(large ? kHugePage : kAlignment, bytes);
#if defined(MADV_HUGEPAGE)
  // Fewer address translations where panels are streamed; only a hint.
  if (memory != nullptr && large) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return static_cast<uint32_t *>(memory);
}

}  // namespace

int32_t panel_columns() noexcept { return tile_kernels().columns; }

glance_status pack_cpu(const glance_matrix_args &args, glance_matrix &matrix) noexcept {
  matrix.panel_columns = panel_columns();
  matrix.units = matrix.dtype == GLANCE_F32 ? matrix.columns : (matrix.columns + 1) / 2;
  const int64_t panels = matrix.panel_count();
  const size_t needed = static_cast<size_t>(panels * matrix.panel_columns * matrix.units) * 4;
  const size_t unit = needed >= 2 * kHugePage ? kHugePage : kAlignment;
  const size_t bytes = (needed + unit - 1) / unit * unit;
  matrix.panels = allocate(bytes);
  if (matrix.panels == nullptr) {
    return fail(GLANCE_OUT_OF_MEMORY,
                "matrix: no memory for %zu bytes of panels (%" PRId64 " x %" PRId64 ")", bytes,
                matrix.rows, matrix.columns);
  }
  matrix.bytes = static_cast<int64_t>(bytes);
  const int wanted = matrix.rows * matrix.columns < kParallelElements ? 1 : max_threads();
  parallel(wanted, [&](int thread, int threads) {
    for (int64_t panel = share_begin(panels, thread, threads);
         panel < share_begin(panels, thread + 1, threads); ++panel) {
      if (matrix.dtype == GLANCE_F32) {
        pack_panel<uint32_t>(args, matrix, panel);
      } else {
        pack_panel<uint16_t>(args, matrix, panel);
      }
    }
  });
  return GLANCE_OK;
}

}  // namespace glance
