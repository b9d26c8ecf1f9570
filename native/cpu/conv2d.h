// conv2d on the CPU, and what of it is compiled for each instruction set.
#pragma once

#include <glance/conv2d.h>

#include <cstdint>

namespace glance {

// Arguments are checked.
glance_status conv2d_cpu(const glance_conv2d_args &args) noexcept;

// Fewer are not worth a register tile, whose columns they would leave empty.
constexpr int kFewOutputs = 4;

// Some rows and columns of x; behind the picture's last ones there may be some more.
struct Conv2dBlock {
  int64_t sample;
  int64_t top;
  int64_t left;
  int64_t rows;
  int64_t columns;
};

// Some pixels side by side, and where their u goes.
struct PixelRow {
  const float *x;
  int64_t pixels;
  int64_t channels;
  float *u;
  int64_t u_stride;
};

// The loops over pixels for one instruction set.
struct Conv2dKernels {
  // Sets, for each channel, the sum over the pixels of x's distance from pivot, and of its square.
  void (*moments)(const float *x, int64_t pixels, int64_t channels, const float *pivot, float *sum,
                  float *squares);
  // u = (x - mean) * scale + bias, one of each for a channel, and SiLU of that; bias may be null.
  void (*channel_norm)(const PixelRow &row, const float *mean, const float *scale,
                       const float *bias, bool silu);
  // The norm of each pixel; weight and bias may be null.
  void (*pixel_norm)(const PixelRow &row, const float *weight, const float *bias, float epsilon,
                     bool silu);
  void (*silu)(const PixelRow &row);
  // sums[i][o] = u at pixel i's taps times w[o], a tile's sums for at most kFewOutputs channels: the
  // taps are side * side pixels at the two distances, w[o] has their values in order.
  void (*few_outputs)(const float *u, int64_t pixel, int64_t row, int64_t side, int64_t channels,
                      const float *w, int rows, int outputs, float *sums);
  // y = sums + bias + residual, of which the last two may be null; sums are a register tile's.
  void (*finish)(float *y, const float *bias, const float *residual, int64_t stride,
                 const float *sums, int rows, int used);
};

// A tile's patch of u and its V: floats from one to the next.
struct WinogradInput {
  int64_t pixel;
  int64_t row;
  int64_t channels;
  int64_t frequency;
};

// Where a tile's 2 x 2 pixels go: rows x columns of them, 1 or 2 each. bias and residual may be
// null.
struct WinogradOutput {
  float *y;
  const float *bias;
  const float *residual;
  int64_t pixel;
  int64_t row;
  int rows;
  int columns;
  int used;
};

// The transforms of the Winograd form for one instruction set. V and M have their frequencies so
// many floats apart.
struct WinogradKernels {
  // V = B d B^T for one tile.
  void (*input)(const WinogradInput &in, const float *u, float *v);
  void (*input_upscaled)(const WinogradInput &in, const float *u, float *v);
  // y = A M A^T + bias + residual for one tile.
  void (*output)(const WinogradOutput &out, const float *m, int64_t frequency);
  void (*output_upscaled)(const WinogradOutput &out, const float *m, int64_t frequency);
};

const WinogradKernels &winograd_kernels_baseline() noexcept;
const WinogradKernels &winograd_kernels_avx2() noexcept;
const WinogradKernels &winograd_kernels_avx512() noexcept;
const WinogradKernels &winograd_kernels_avx512_bf16() noexcept;

const Conv2dKernels &conv2d_kernels_baseline() noexcept;
const Conv2dKernels &conv2d_kernels_avx2() noexcept;
const Conv2dKernels &conv2d_kernels_avx512() noexcept;
const Conv2dKernels &conv2d_kernels_avx512_bf16() noexcept;

}  // namespace glance
