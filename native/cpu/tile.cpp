// The register tile of the CPU's matrix product; compiled once per instruction set.
//
// sums[rows][columns] += x[rows][units] panel[units][columns], for each term. Accumulation in f32,
// in registers, over all units of all terms in order, so that a sum does not depend on the tile it
// is computed in. A unit is one f32 or a pair of bf16. A tile is 14 x 32 with AVX-512 (28 of 32
// registers hold sums), 6 x 16 with AVX2, 6 x 8 without; bf16 without its instruction takes two
// rows fewer. Panels are read in order, each word once a tile: a panel of K <= 4096 stays in the
// second-level cache while the tiles below each other use it. No alignment beyond the element's.
//
// Sums pass through a buffer of at most 1.8 KB before the epilogue, which thereby is a plain loop
// over the formulas in math/.
#include "cpu/tile.h"

#include "cpu/isa.h"
#include "cpu/tile_sums.h"
#include "math/element.h"
#include "math/gated_residual.h"
#include "math/gelu.h"

namespace glance {
namespace {

constexpr int kColumns = kTileColumns;
static_assert(kColumns <= kMaxTileColumns && kRowsF32 <= kMaxTileRows, "tile is too large");

// How many words ahead a panel is fetched: some 0.1 us of work, the way from memory.
constexpr int kAhead = 16 * kColumns;

inline uint32_t word(const char *x) {
  uint32_t value;
  memcpy(&value, x, sizeof value);
  return value;
}

template <typename Multiply, int kRows, int kVectors>
void tile_sums(const TileTerm *terms, int count, float *out) {
  Floats sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[i][v] = Floats{};
  }
  for (int t = 0; t < count; ++t) {
    const char *x = terms[t].x;
    const int64_t stride = terms[t].x_stride_bytes;
    const uint32_t *panel = terms[t].panel;
    for (int64_t u = 0; u < terms[t].units; ++u) {
      typename Multiply::Operand b[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) b[v] = Multiply::operand(load_words(panel + v * kWidth));
      __builtin_prefetch(panel + kAhead);
      __builtin_prefetch(panel + kAhead + kWidth);
      panel += kColumns;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const auto a = Multiply::operand(broadcast(word(x + i * stride)));
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sums[i][v] = Multiply::add(sums[i][v], a, b[v]);
      }
      x += sizeof(uint32_t);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) store(out + i * kColumns + v * kWidth, sums[i][v]);
  }
}

// The loops above are unrolled for each number of rows, so that sums stay in registers.
template <typename Multiply, int kRows>
void sums_of(const TileTerm *terms, int count, int rows, int used, float *out) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return sums_of<Multiply, kRows - 1>(terms, count, rows, used, out);
  }
  if (used > kWidth) {
    tile_sums<Multiply, kRows, 2>(terms, count, out);
  } else {
    tile_sums<Multiply, kRows, 1>(terms, count, out);
  }
}

template <typename Multiply>
void sums(const TileTerm *terms, int count, int rows, int used, float *out) {
  sums_of<Multiply, Multiply::kRows>(terms, count, rows, used, out);
}

// y may be residual, element by element.
template <typename T, glance_epilogue kEpilogue, bool kBias>
void finish_row(const float *sums, const T *bias, const T *gate, const T *residual, T *y,
                int columns) {
  for_vectors(columns, [=](int64_t j, auto part) {
    Floats s = load(sums + j);
    if constexpr (kBias) s += load(bias + j, part);
    if constexpr (kEpilogue == GLANCE_EPILOGUE_GELU_TANH) s = gelu_tanh(s);
    if constexpr (kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
      s = gated_residual(load(residual + j, part), load(gate + j, part), s);
    }
    store(y + j, s, part);
  });
}

template <typename T, glance_epilogue kEpilogue, bool kBias>
void finish_rows(const TileOutput &o, const float *sums, int rows, int used) {
  constexpr bool kGated = kEpilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
  const T *bias = reinterpret_cast<const T *>(o.bias);
  for (int i = 0; i < rows; ++i) {
    const T *gate = nullptr;
    const T *residual = nullptr;
    if constexpr (kGated) {
      gate =
          reinterpret_cast<const T *>(o.gate) + (o.gate_row + i) / o.rows_per_gate * o.gate_stride;
      residual = reinterpret_cast<const T *>(o.residual) + i * o.residual_stride;
    }
    T *y = reinterpret_cast<T *>(o.y) + i * o.y_stride;
    const float *row = sums + i * kColumns;
    finish_row<T, kEpilogue, kBias>(row, bias, gate, residual, y, used);
  }
}

template <typename T, bool kBias>
void finish_epilogue(const TileOutput &o, const float *sums, int rows, int used) {
  switch (o.epilogue) {
    case GLANCE_EPILOGUE_GELU_TANH:
      return finish_rows<T, GLANCE_EPILOGUE_GELU_TANH, kBias>(o, sums, rows, used);
    case GLANCE_EPILOGUE_GATED_RESIDUAL:
      return finish_rows<T, GLANCE_EPILOGUE_GATED_RESIDUAL, kBias>(o, sums, rows, used);
    default:
      return finish_rows<T, GLANCE_EPILOGUE_NONE, kBias>(o, sums, rows, used);
  }
}

template <typename T>
void finish(const TileOutput &o, const float *sums, int rows, int used) {
  if (o.bias == nullptr) return finish_epilogue<T, false>(o, sums, rows, used);
  finish_epilogue<T, true>(o, sums, rows, used);
}

template <typename T>
void scaled(char *y, int64_t y_stride, float scale, const float *sums, int rows, int used) {
  for (int i = 0; i < rows; ++i) {
    T *row = reinterpret_cast<T *>(y) + i * y_stride;
    for_vectors(used, [=](int64_t j, auto part) {
      store(row + j, load(sums + i * kColumns + j) * scale, part);
    });
  }
}

constexpr TileKernels kKernels = {kColumns,          MultiplyF32::kRows, MultiplyBf16::kRows,
                                  sums<MultiplyF32>, sums<MultiplyBf16>, finish<float>,
                                  finish<bf16>,      scaled<float>,      scaled<bf16>};

}  // namespace

const TileKernels &GLANCE_FOR_ISA(tile_kernels)() noexcept { return kKernels; }

}  // namespace glance
