// conv2d on the CPU, and what of it is compiled for each instruction set.
#pragma once

#include <glance/conv2d.h>

#include <cstdint>

namespace glance {

// Arguments are checked.
glance_status conv2d_cpu(const glance_conv2d_args &args) noexcept;

// Fewer are not worth a register tile, whose columns they would leave empty.
constexpr int kFewOutputs = 4;

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

const Conv2dKernels &conv2d_kernels_baseline() noexcept;
const Conv2dKernels &conv2d_kernels_avx2() noexcept;
const Conv2dKernels &conv2d_kernels_avx512() noexcept;
const Conv2dKernels &conv2d_kernels_avx512_bf16() noexcept;

}  // namespace glance
