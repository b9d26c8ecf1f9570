/*
 * A convolution of channels-last pictures, with the norm and the activation before it and the
 * residual behind it, as the layers of a VAE have them:
 *
 *   u    = x, or its norm
 *          GROUP:  (x - mean) / sqrt(var + epsilon) * norm_weight + norm_bias
 *          PIXEL:  x / max(sqrt(sum of x^2), epsilon) * sqrt(in_channels) * norm_weight + norm_bias
 *   u    = u / (1 + e^-u)                                                     if silu is not 0
 *   y_po = bias_o + sum over taps t and channels c of u_(p + t)c W_o(t, c)    [+ residual_po]
 *
 * Mean and variance (biased) are of a sample's pixels and the channels of one group, the sum of
 * PIXEL of one pixel's channels. kernel 3 has 3 x 3 taps and reads zeros outside the picture;
 * kernel 1 has one. With upscale y is twice as high and wide: the convolution of u with each pixel
 * repeated 2 x 2.
 *
 * Sums are taken in one fixed order: a pixel has the same bits whatever the number of threads.
 *
 * Group norm: arXiv 1803.08494; RMS norm: arXiv 1910.07467; SiLU: arXiv 1702.03118.
 */
#ifndef GLANCE_CONV2D_H
#define GLANCE_CONV2D_H

#include <glance/core.h>
#include <glance/matrix.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t glance_conv2d_norm;
enum { GLANCE_CONV2D_NORM_NONE = 0, GLANCE_CONV2D_NORM_GROUP = 1, GLANCE_CONV2D_NORM_PIXEL = 2 };

/* All pictures are dense: samples x height x width x channels. */
typedef struct {
  int64_t struct_size;
  const void *x;
  /* Out. */
  void *y;
  /* Optional (null): as y, and may be y itself. */
  const void *residual;
  /*
   * W, each a matrix of out_channels rows. Without upscale one, with kernel * kernel * in_channels
   * columns in the order row, column, channel of the kernel; the others are null.
   *
   * With upscale (kernel 3) four, of 2 x 2 taps each: number 2 i + j makes the pixels in rows 2 r +
   * i and columns 2 q + j of y from rows r + i - 1 and r + i, columns q + j - 1 and q + j of u. Its
   * taps are the sums of those of the 3 x 3 kernel that fall on one pixel.
   */
  const glance_matrix *weights[4];
  /* out_channels values, or null. */
  const void *bias;
  /* in_channels values each, or null for 1 and 0. Not read without a norm. */
  const void *norm_weight;
  const void *norm_bias;
  /* Of x. All sizes are 1 to 2^31 - 1. */
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t in_channels;
  int64_t out_channels;
  /* With GROUP: a divisor of in_channels. Else 0. */
  int64_t groups;
  /* With a norm: finite, 0 or more. Else 0. */
  float epsilon;
  /* 1 or 3. */
  int32_t kernel;
  glance_conv2d_norm norm;
  int32_t silu;
  int32_t upscale;
  /* F32. */
  glance_dtype dtype;
  glance_device device;
  int32_t device_index;
  int32_t reserved;
} glance_conv2d_args;

/*
 * Runs the operation. stream as in glance_flow_step. On the CPU only. y may overlap no input
 * (judged by address range) but the residual as a whole.
 */
GLANCE_API glance_status glance_conv2d(const glance_conv2d_args *args, void *stream);

#ifdef __cplusplus
}
#endif

#endif
