// conv2d's Winograd form: how a block of pixels is convolved once its u is made.
#pragma once

#include "cpu/conv2d.h"
#include "cpu/tiles.h"

namespace glance {

class Winograd {
 public:
  // pixel: floats from one pixel of u to the next.
  Winograd(const glance_conv2d_args &args, const TileKernels &tile, int64_t pixel) noexcept;

  // Pixels of x that a tile has along each axis. A block has a whole number of tiles.
  int64_t side() const { return side_; }
  // Floats of V.
  int64_t floats() const { return frequencies_ * frequency_; }

  // u: the block with a rim of one pixel; v: room for floats().
  void convolve(const Conv2dBlock &b, const float *u, float *v) const;

 private:
  // Where a tile's patch begins in the block's u and its pixels in y, and how many rows and columns
  // of them the picture has.
  struct Tile {
    int64_t u;
    int64_t y;
    int rows;
    int columns;
  };

  void place(const Conv2dBlock &b, const RowTile &group, Tile *tiles) const;
  void transform(const Tile *tiles, int count, const float *u, int64_t u_row, float *v) const;
  void multiply(const Tile *tiles, int count, const float *v) const;
  void finish(const Tile *tiles, int count, int64_t first, int used, const float *m) const;

  const glance_conv2d_args &a_;
  const TileKernels &tile_;
  const WinogradKernels &kernels_;
  const int64_t pixel_;
  const int64_t side_;
  const int frequencies_;
  // Floats from one frequency of V to the next.
  const int64_t frequency_;
};

}  // namespace glance
