/*
 * What a layer adds to the hidden state:
 *
 *   y = residual + gate * update
 *
 * in f32, rounded once. The same formula as GLANCE_EPILOGUE_GATED_RESIDUAL, for updates that do not
 * come from a linear.
 */
#ifndef GLANCE_GATED_RESIDUAL_H
#define GLANCE_GATED_RESIDUAL_H

#include <glance/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Matrices of rows x columns, elements of a row side by side. */
typedef struct {
  int64_t struct_size;
  const void *residual;
  const void *update;
  /* Row i has row i / rows_per_gate of gate. */
  const void *gate;
  /* Out. May be residual or update itself, with the same stride. */
  void *y;
  int64_t rows;
  int64_t columns;
  int64_t residual_stride;
  int64_t update_stride;
  int64_t gate_stride;
  int64_t rows_per_gate;
  int64_t y_stride;
  /* F32, BF16 or (CUDA) F16: of all four. */
  glance_dtype dtype;
  glance_device device;
  int32_t device_index;
  int32_t reserved;
} glance_gated_residual_args;

/* Runs the operation. stream as in glance_flow_step. */
GLANCE_API glance_status glance_gated_residual(const glance_gated_residual_args *args,
                                               void *stream);

#ifdef __cplusplus
}
#endif

#endif
