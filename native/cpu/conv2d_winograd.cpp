// conv2d's Winograd form on the CPU: F(2 x 2, 3 x 3) of arXiv 1509.09308.
//
// Formula: glance/conv2d.h. As many tiles of a block as the register tile has rows are taken
// together, in the order of rows, so that small pictures fill it as well. Their V is made,
// [frequency][tile][channel]; each frequency is a matrix product of it and a part of W's panel, and
// the sums of all frequencies become pixels while they are in the first cache. V of more tiles at a
// time would let a panel be read less often, but was not faster for any shape: 16 to 512 channels.
//
// Tiles lie on even rows and columns of y whatever the block, so that a pixel has the same bits in
// all of them.
#include "cpu/conv2d_winograd.h"

#include <algorithm>

#include "core/packed_matrix.h"
#include "cpu/isa.h"

namespace glance {
namespace {

constexpr int kMostFrequencies = 16;

}  // namespace

Winograd::Winograd(const glance_conv2d_args &args, const TileKernels &tile,
                   int64_t pixel) noexcept
    : a_(args),
      tile_(tile),
      kernels_(GLANCE_PICK_ISA(winograd_kernels)()),
      pixel_(pixel),
      side_(args.upscale != 0 ? 1 : 2),
      frequencies_(args.upscale != 0 ? 9 : kMostFrequencies),
      // An odd number of cache lines, so that what is written together shares no set of the first
      // cache.
      frequency_(((tile.rows_f32 * pixel + 15) / 16 | 1) * 16) {}

void Winograd::convolve(const Conv2dBlock &b, const float *u, float *v) const {
  const int64_t tiles = b.rows * b.columns / (side_ * side_);
  const int64_t groups = (tiles + tile_.rows_f32 - 1) / tile_.rows_f32;
  Tile group[kMaxTileRows];
  for (int64_t i = 0; i < groups; ++i) {
    const RowTile part = row_tile(0, tiles, i, groups, -1);
    place(b, part, group);
    transform(group, part.rows, u, (b.columns + 2) * pixel_, v);
    multiply(group, part.rows, v);
  }
}

void Winograd::place(const Conv2dBlock &b, const RowTile &group, Tile *tiles) const {
  const int64_t across = b.columns / side_;
  const int64_t up = a_.upscale != 0 ? 2 : 1;
  int64_t down = group.begin / across;
  int64_t column = group.begin % across;
  for (int i = 0; i < group.rows; ++i) {
    const int64_t top = b.top * up + 2 * down;
    const int64_t left = b.left * up + 2 * column;
    tiles[i] = {(down * (b.columns + 2) + column) * side_ * pixel_,
                ((b.sample * a_.height * up + top) * a_.width * up + left) * a_.out_channels,
                static_cast<int>(std::min<int64_t>(a_.height * up - top, 2)),
                static_cast<int>(std::min<int64_t>(a_.width * up - left, 2))};
    if (++column == across) ++down, column = 0;
  }
}

void Winograd::transform(const Tile *tiles, int count, const float *u, int64_t u_row,
                         float *v) const {
  const auto input = a_.upscale != 0 ? kernels_.input_upscaled : kernels_.input;
  const WinogradInput in = {pixel_, u_row, a_.in_channels, frequency_};
  for (int i = 0; i < count; ++i) input(in, u + tiles[i].u, v + i * pixel_);
}

void Winograd::multiply(const Tile *tiles, int count, const float *v) const {
  const glance_matrix &w = *a_.weights;
  alignas(64) float m[kMostFrequencies * kMaxTileRows * kMaxTileColumns];
  for (int64_t panel = 0; panel < w.panel_count(); ++panel) {
    const int64_t first = panel * tile_.columns;
    const int used = static_cast<int>(std::min<int64_t>(tile_.columns, w.rows - first));
    for (int f = 0; f < frequencies_; ++f) {
      const TileTerm term = {reinterpret_cast<const char *>(v + f * frequency_),
                             pixel_ * static_cast<int64_t>(sizeof(float)),
                             w.panel(panel) + f * a_.in_channels * tile_.columns, a_.in_channels};
      tile_.sums_f32(&term, 1, count, used, m + f * count * tile_.columns);
    }
    finish(tiles, count, first, used, m);
  }
}

void Winograd::finish(const Tile *tiles, int count, int64_t first, int used,
                      const float *m) const {
  const auto output = a_.upscale != 0 ? kernels_.output_upscaled : kernels_.output;
  const auto from = [](const void *data, int64_t offset) {
    return data == nullptr ? nullptr : static_cast<const float *>(data) + offset;
  };
  for (int i = 0; i < count; ++i) {
    const Tile &tile = tiles[i];
    const int64_t to = tile.y + first;
    const WinogradOutput out = {static_cast<float *>(a_.y) + to,
                                from(a_.bias, first),
                                from(a_.residual, to),
                                a_.out_channels,
                                a_.width * (a_.upscale != 0 ? 2 : 1) * a_.out_channels,
                                tile.rows,
                                tile.columns,
                                used};
    output(out, m + i * tile_.columns, int64_t{count} * tile_.columns);
  }
}

}  // namespace glance
