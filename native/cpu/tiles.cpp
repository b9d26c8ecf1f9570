#include "cpu/tiles.h"

#include <cstring>

#include "cpu/isa.h"

namespace glance {

const TileKernels &tile_kernels() noexcept { return GLANCE_PICK_ISA(tile_kernels)(); }

int64_t tile_rows_of(glance_dtype dtype) noexcept {
  return dtype == GLANCE_F32 ? tile_kernels().rows_f32 : tile_kernels().rows_bf16;
}

TileInput::TileInput(const char *x, int64_t stride_bytes, int rows, int64_t columns,
                     glance_dtype dtype) noexcept
    : x_(x),
      stride_bytes_(stride_bytes),
      whole_units_(dtype == GLANCE_F32 ? columns : columns / 2),
      odd_(dtype == GLANCE_BF16 && columns % 2 != 0) {
  if (!odd_) return;
  for (int i = 0; i < rows; ++i) {
    uint16_t half;
    memcpy(&half, x + i * stride_bytes + 4 * whole_units_, sizeof half);
    last_[i] = half;
  }
}

int TileInput::terms(const uint32_t *panel, TileTerm *out) const noexcept {
  out[0] = {x_, stride_bytes_, panel, whole_units_};
  if (!odd_) return 1;
  const uint32_t *last_unit = panel + whole_units_ * tile_kernels().columns;
  out[1] = {reinterpret_cast<const char *>(last_), sizeof last_[0], last_unit, 1};
  return 2;
}

}  // namespace glance
