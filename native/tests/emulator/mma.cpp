// Warp-level matrix instructions, from the fragment layouts of the PTX ISA manual.
#include <cstring>

#include "math/element.h"
#include "tests/emulator/state.h"

namespace glance_emulator {
namespace {

// ldmatrix .x4: lanes 8 i to 8 i + 7 give the rows of matrix i; lane l gets in r[i] the elements
// 2 (l % 4) and 2 (l % 4) + 1 of its row l / 4.
template <bool kTransposed>
void load_all(Warp &warp) {
  for (unsigned i = 0; i < 4; ++i) {
    uint16_t matrix[8][8];
    for (unsigned row = 0; row < 8; ++row) {
      std::memcpy(matrix[row], warp.argument<MatricesArguments>(8 * i + row).row, 16);
    }
    for (unsigned l = 0; l < kLanes; ++l) {
      const unsigned row = l / 4;
      const unsigned column = 2 * (l % 4);
      const uint32_t low = kTransposed ? matrix[column][row] : matrix[row][column];
      const uint32_t high = kTransposed ? matrix[column + 1][row] : matrix[row][column + 1];
      warp.argument<MatricesArguments>(l).r[i] = low | high << 16;
    }
  }
  wake(warp);
}

template <typename T>
void split(uint32_t two, float &low, float &high) {
  low = glance::to_f32(T{static_cast<uint16_t>(two)});
  high = glance::to_f32(T{static_cast<uint16_t>(two >> 16)});
}

// mma.m16n8k16. groupID = l >> 2, threadID_in_group = l % 4:
//   a0, a1: (groupID, 2 t + {0, 1}); a2, a3: (groupID + 8, the same); a4 to a7: 8 columns on;
//   b0, b1: (2 t + {0, 1}, groupID); b2, b3: 8 rows on;
//   c0, c1: (groupID, 2 t + {0, 1}); c2, c3: (groupID + 8, the same).
template <typename T>
void multiply(Warp &warp) {
  float a[16][16];
  float b[16][8];
  for (unsigned l = 0; l < kLanes; ++l) {
    const MmaArguments &own = warp.argument<MmaArguments>(l);
    const unsigned group = l / 4;
    const unsigned t = 2 * (l % 4);
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = group + (i % 2) * 8;
      const unsigned column = t + (i / 2) * 8;
      split<T>(own.a[i], a[row][column], a[row][column + 1]);
    }
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned row = t + i * 8;
      split<T>(own.b[i], b[row][group], b[row + 1][group]);
    }
  }
  float sums[16][8] = {};
  for (unsigned m = 0; m < 16; ++m) {
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned n = 0; n < 8; ++n) sums[m][n] += a[m][k] * b[k][n];
    }
  }
  for (unsigned l = 0; l < kLanes; ++l) {
    float *d = warp.argument<MmaArguments>(l).d;
    for (unsigned i = 0; i < 4; ++i) d[i] += sums[l / 4 + (i / 2) * 8][2 * (l % 4) + i % 2];
  }
  wake(warp);
}

}  // namespace

void load_matrices(MatricesArguments &arguments, bool transposed) {
  shared_offset(arguments.row, 16, 16, "load_matrices");
  if (transposed) {
    collective({"load_matrices_transposed", 0, true, load_all<true>}, &arguments);
  } else {
    collective({"load_matrices", 0, true, load_all<false>}, &arguments);
  }
}

void mma_bf16(MmaArguments &arguments) {
  require(80, "mma");
  collective({"mma of bf16", 0, true, multiply<glance::bf16>}, &arguments);
}

void mma_f16(MmaArguments &arguments) {
  require(80, "mma");
  collective({"mma of f16", 0, true, multiply<glance::f16>}, &arguments);
}

}  // namespace glance_emulator
