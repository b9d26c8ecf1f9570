/*
 * A layer's normalised and modulated input, and optionally the LoRA down-projection of it:
 *
 *   LAYER:  n = (x - mean(x)) / sqrt(var(x) + epsilon)      var over columns, biased
 *   RMS:    n = x / sqrt(mean(x^2) + epsilon)
 *   y = n * (1 + scale) + shift
 *   h = adapter scale * (y A^T)                             with the rounded y, as in lora_linear
 *
 * Mean and variance are of one row (a token), in f32. LayerNorm: arXiv 1607.06450; RMSNorm: arXiv
 * 1910.07467; scale and shift by adaLN: arXiv 2212.09748.
 */
#ifndef GLANCE_MODULATED_NORM_H
#define GLANCE_MODULATED_NORM_H

#include <glance/core.h>
#include <glance/lora_linear.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t glance_norm;
enum { GLANCE_NORM_LAYER = 0, GLANCE_NORM_RMS = 1 };

typedef struct {
  int64_t struct_size;
  /* rows x columns; elements of a row side by side. */
  const void *x;
  /* Out: rows x columns. May be x itself, with the same stride. */
  void *y;
  /* Optional (null: 0). Row i of x has row i / rows_per_group of scale and of shift. */
  const void *scale;
  const void *shift;
  /* Out, optional (null): rows x the largest R of the adapters. Rows without an adapter, and
     columns from their adapter's R on, are not written. */
  void *h;
  int64_t rows;
  int64_t columns;
  int64_t x_stride;
  int64_t y_stride;
  int64_t scale_stride;
  int64_t shift_stride;
  /* 1 or more; read only with scale or shift, as their strides are. */
  int64_t rows_per_group;
  int64_t h_stride;
  /* Read only if h is not null. */
  glance_adapter_table adapters;
  /* 0 or more; finite. */
  float epsilon;
  glance_norm norm;
  /* F32, BF16 or (CUDA) F16: of every tensor. */
  glance_dtype dtype;
  glance_device device;
  int32_t device_index;
  int32_t reserved;
} glance_modulated_norm_args;

/* Runs the operation. stream as in glance_flow_step. */
GLANCE_API glance_status glance_modulated_norm(const glance_modulated_norm_args *args,
                                               void *stream);

#ifdef __cplusplus
}
#endif

#endif
