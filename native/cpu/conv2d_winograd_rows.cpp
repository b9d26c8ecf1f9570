// conv2d's Winograd form, the transforms; compiled once per instruction set.
//
// Formula: glance/conv2d.h, whose matrices here are sums along one axis, first of the rows, then
// of the columns. They read 16 and 16 vectors of a tile and write 16 and 4, beside products of
// hundreds of steps. f32 arithmetic. No alignment beyond the element's.
#include "cpu/conv2d.h"
#include "cpu/isa.h"
#include "cpu/tile_sums.h"

namespace glance {
namespace {

// What the transforms are along one axis.
struct Plain {
  static constexpr int kPatch = 4;
  static constexpr int kFrequencies = 4;

  static void input(const Floats (&d)[kPatch], Floats (&v)[kFrequencies]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
  }
  static void output(const Floats (&m)[kFrequencies], Floats (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
};

// The patch of repeated pixels is d0 d1 d1 d2.
struct Upscaled {
  static constexpr int kPatch = 3;
  static constexpr int kFrequencies = 3;

  static void input(const Floats (&d)[kPatch], Floats (&v)[kFrequencies]) {
    v[0] = d[0] - d[1];
    v[1] = d[1];
    v[2] = d[2] - d[1];
  }
  static void output(const Floats (&m)[kFrequencies], Floats (&y)[2]) {
    y[0] = m[0] + m[1];
    y[1] = m[1] + m[2];
  }
};

template <typename Axis, typename Part>
GLANCE_MATH void transform(const WinogradInput &in, const float *u, float *v, Part part) {
  constexpr int kN = Axis::kFrequencies;
  Floats rows[kN][Axis::kPatch];
#pragma GCC unroll 4
  for (int j = 0; j < Axis::kPatch; ++j) {
    Floats d[Axis::kPatch];
#pragma GCC unroll 4
    for (int i = 0; i < Axis::kPatch; ++i) d[i] = load(u + i * in.row + j * in.pixel, part);
    Floats t[kN];
    Axis::input(d, t);
#pragma GCC unroll 4
    for (int i = 0; i < kN; ++i) rows[i][j] = t[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < kN; ++i) {
    Floats t[kN];
    Axis::input(rows[i], t);
#pragma GCC unroll 4
    for (int j = 0; j < kN; ++j) store(v + (kN * i + j) * in.frequency, t[j], part);
  }
}

template <typename Axis>
void input(const WinogradInput &in, const float *u, float *v) {
  for_vectors(in.channels,
              [&](int64_t c, auto part) { transform<Axis>(in, u + c, v + c, part); });
}

template <typename Axis>
void output(const WinogradOutput &out, const float *m, int64_t frequency) {
  constexpr int kN = Axis::kFrequencies;
  for_vectors(out.used, [&](int64_t o, auto part) {
    Floats columns[2][kN];
#pragma GCC unroll 4
    for (int i = 0; i < kN; ++i) {
      Floats of_row[kN];
#pragma GCC unroll 4
      for (int j = 0; j < kN; ++j) of_row[j] = load(m + (kN * i + j) * frequency + o);
      Floats t[2];
      Axis::output(of_row, t);
      columns[0][i] = t[0];
      columns[1][i] = t[1];
    }
    const Floats bias = out.bias == nullptr ? Floats{} : load(out.bias + o, part);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      Floats y[2];
      Axis::output(columns[j], y);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        if (i >= out.rows || j >= out.columns) continue;
        const int64_t to = i * out.row + j * out.pixel + o;
        Floats sum = y[i] + bias;
        if (out.residual != nullptr) sum += load(out.residual + to, part);
        store(out.y + to, sum, part);
      }
    }
  });
}

constexpr WinogradKernels kKernels = {input<Plain>, input<Upscaled>, output<Plain>,
                                      output<Upscaled>};

}  // namespace

const WinogradKernels &GLANCE_FOR_ISA(winograd_kernels)() noexcept { return kKernels; }

}  // namespace glance
