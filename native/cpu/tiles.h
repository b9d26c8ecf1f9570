// What the callers of the register tile share: how rows are cut into tiles, and how a tile takes
// rows that end in half a word.
#pragma once

#include "cpu/tile.h"

namespace glance {

// Some rows that are computed together, and the adapter they have, or -1.
struct RowTile {
  int64_t begin;
  int32_t rows;
  int32_t adapter;
};

// The even share of rows that tile index of count gets.
inline RowTile row_tile(int64_t begin, int64_t rows, int64_t index, int64_t count,
                        int32_t adapter) noexcept {
  const int64_t from = rows * index / count;
  const int64_t to = rows * (index + 1) / count;
  return {begin + from, static_cast<int32_t>(to - from), adapter};
}

// The most rows of a tile in this type.
int64_t tile_rows_of(glance_dtype dtype) noexcept;

// A tile's rows of x as terms. The last word of an odd number of bf16 lies half behind its row,
// where there may be anything; it is copied, filled up with a zero, and makes a term of its own.
// Sums have the same bits as in one term, for a tile takes the units of all terms in order.
class TileInput {
 public:
  static constexpr int kMostTerms = 2;

  TileInput(const char *x, int64_t stride_bytes, int rows, int64_t columns,
            glance_dtype dtype) noexcept;

  // Writes the terms of x times a panel and returns how many they are. They point into this object.
  int terms(const uint32_t *panel, TileTerm *out) const noexcept;

 private:
  const char *x_;
  int64_t stride_bytes_;
  int64_t whole_units_;
  bool odd_;
  uint32_t last_[kMaxTileRows];
};

}  // namespace glance
