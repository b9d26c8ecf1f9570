// Products over rows, for the gradients of A and B; compiled once per instruction set.
//
// Formula and layout: cpu/row_products.h. p has as many columns as the adapter has ranks, q is x or
// dy: wide. A register tile is up to 14 columns of p times two vectors of q; q is read in place,
// once for each 14 ranks, bf16 widened as it is loaded. 2 rows * p_columns * columns operations on
// rows * columns elements: for rank 16 it is bound by arithmetic and memory alike.
#include "cpu/row_products.h"

#include "cpu/isa.h"
#include "cpu/tile_sums.h"

namespace glance {
namespace {

constexpr int kColumns = kTileColumns;

// Not std::min, which has external linkage: see cpu/isa.h.
int least(int most, int64_t left) { return left < most ? static_cast<int>(left) : most; }

// sums[i][j] over all rows, for kRows columns of p and a full tile of q's; a narrower tile of q has
// been copied to one that is full.
template <typename T, int kRows>
void tile(const float *p, int64_t p_stride, const T *q, int64_t q_stride, int64_t rows,
          float *out) {
  Floats sums[kRows][2];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = Floats{};
  for (int64_t m = 0; m < rows; ++m) {
    const Floats q0 = load(q);
    const Floats q1 = load(q + kWidth);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Floats a = Floats{} + p[i];
      sums[i][0] = multiply_add(a, q0, sums[i][0]);
      sums[i][1] = multiply_add(a, q1, sums[i][1]);
    }
    p += p_stride;
    q += q_stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    store(out + i * kColumns, sums[i][0]);
    store(out + i * kColumns + kWidth, sums[i][1]);
  }
}

template <typename T, int kRows>
void tile_of(int rows, const float *p, int64_t p_stride, const T *q, int64_t q_stride, int64_t m,
             float *out) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return tile_of<T, kRows - 1>(rows, p, p_stride, q, q_stride, m, out);
  }
  tile<T, kRows>(p, p_stride, q, q_stride, m, out);
}

void put(const RowProducts &a, int64_t first_i, int rows, int64_t first_j, int used,
         const float *sums) {
  for (int i = 0; i < rows; ++i) {
    float *out = a.out + (first_i + i) * a.out_i_stride + first_j * a.out_j_stride;
    for (int j = 0; j < used; ++j) {
      const float value = a.scale * sums[i * kColumns + j];
      float &place = out[j * a.out_j_stride];
      place = a.accumulate ? place + value : value;
    }
  }
}

template <typename T>
void columns(const RowProducts &a, int64_t first_j, int used, const T *q, int64_t q_stride) {
  alignas(64) float sums[kRowsF32 * kColumns];
  for (int64_t i = 0; i < a.p_columns; i += kRowsF32) {
    const int rows = least(kRowsF32, a.p_columns - i);
    tile_of<T, kRowsF32>(rows, a.p + i, a.p_columns, q, q_stride, a.rows, sums);
    put(a, i, rows, first_j, used, sums);
  }
}

// The last columns of q, fewer than a tile, some rows at a time: sums go on from part to part.
template <typename T>
void last_columns(const RowProducts &a, int64_t first_j, int used, const T *q) {
  constexpr int kPart = 64;
  T part[kPart * kColumns] = {};
  RowProducts piece = a;
  for (int64_t m = 0; m < a.rows; m += kPart) {
    piece.rows = least(kPart, a.rows - m);
    piece.p = a.p + m * a.p_columns;
    for (int64_t r = 0; r < piece.rows; ++r) {
      memcpy(part + r * kColumns, q + (m + r) * a.q_stride, static_cast<size_t>(used) * sizeof(T));
    }
    columns<T>(piece, first_j, used, part, kColumns);
    piece.accumulate = true;
  }
}

template <typename T>
void all_columns(const RowProducts &a) {
  const T *q = static_cast<const T *>(a.q);
  for (int64_t j = a.begin; j < a.end; j += kColumns) {
    const int used = least(kColumns, a.end - j);
    if (used == kColumns) {
      columns<T>(a, j, used, q + j, a.q_stride);
    } else {
      last_columns<T>(a, j, used, q + j);
    }
  }
}

}  // namespace

void GLANCE_FOR_ISA(row_products)(const RowProducts &products) noexcept {
  if (products.dtype == GLANCE_F32) {
    all_columns<float>(products);
  } else {
    all_columns<bf16>(products);
  }
}

}  // namespace glance
