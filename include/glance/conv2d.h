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
 * There are two forms of the sum over taps. DIRECT takes it as it stands. WINOGRAD, for kernel 3,
 * has 4 products for its 9, by F(2 x 2, 3 x 3) of arXiv 1509.09308: a 4 x 4 patch d of u makes 2 x
 * 2 pixels of y, whose first row and column are even,
 *
 *   Y = A [sum over channels of U * V] A^T,   U = G W G^T,   V = B d B^T      (* by element)
 *
 *       1  1  1  0        1  0 -1  0        1    0    0
 *   A = 0  1 -1 -1    B = 0  1  1  0    G = 1/2  1/2  1/2
 *                         0 -1  1  0        1/2 -1/2  1/2
 *                         0  1  0 -1        0    0    1
 *
 * With upscale rows and columns of d are a, b, b, c. Their V would be a - b, 2 b, 0, b - c; what is
 * left of it is d of 3 x 3, the pixel b and those around it, and 9 products for 36:
 *
 *       1  1  0        1 -1  0        1  0  0
 *   A = 0  1  1    B = 0  1  0    G = 1  1  1
 *                      0 -1  1        0  0  1
 *
 * U, V and Y are rounded to f32, so the error of a pixel of y is relative not to the products in
 * the sum but to those of every value in its 3 x 3 neighbourhood with every tap. No value outside
 * the neighbourhood has a part in it.
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

typedef int32_t glance_conv2d_form;
enum { GLANCE_CONV2D_FORM_DIRECT = 0, GLANCE_CONV2D_FORM_WINOGRAD = 1 };

/* All pictures are dense: samples x height x width x channels. */
typedef struct {
  int64_t struct_size;
  const void *x;
  /* Out. */
  void *y;
  /* Optional (null): as y, and may be y itself. */
  const void *residual;
  /*
   * A matrix of out_channels rows. DIRECT: W, whose kernel * kernel * in_channels columns have the
   * order row, column, channel. WINOGRAD: U, whose columns have the order row and column of the
   * frequency, channel: 16 * in_channels, or 9 * in_channels with upscale.
   */
  const glance_matrix *weights;
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
  /* With upscale WINOGRAD. */
  glance_conv2d_form form;
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
