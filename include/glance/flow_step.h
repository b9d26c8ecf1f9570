/*
 * One denoising step's update of the latents: CFG combine + Euler step + cast, in one pass.
 *
 *   v = v_pos                                                  GLANCE_CFG_NONE (v_neg is null)
 *   v = v_neg + cfg_scale * (v_pos - v_neg)                    GLANCE_CFG_PLAIN
 *   v = comb * (|v_pos| / |comb|), comb = the plain v          GLANCE_CFG_RESCALED
 *   latents += (sigma_next - sigma) * v
 *
 * |x| is the Euclidean norm of one row (a token). A row whose comb is all zero stays zero.
 * All arithmetic is in f32 with no fused multiply-add, so that in f32 the result of NONE and PLAIN
 * is bit for bit what the same chain of separate f32 operations gives. Results do not depend on
 * instruction set, thread count or device.
 */
#ifndef GLANCE_FLOW_STEP_H
#define GLANCE_FLOW_STEP_H

#include <glance/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the two velocities of classifier-free guidance are combined. */
typedef int32_t glance_cfg_mode;
enum { GLANCE_CFG_NONE = 0, GLANCE_CFG_PLAIN = 1, GLANCE_CFG_RESCALED = 2 };

/* Where values are rounded to a narrow type. Both are the same for f32 velocities. */
typedef int32_t glance_rounding;
enum {
  /* Only what is stored: f32 from the loads to the stores. */
  GLANCE_ROUND_ONCE = 0,
  /* The result of every operation on a velocity, as a framework does that computes the formula
     operation by operation on tensors of that type. The addition to the latents is in f32. */
  GLANCE_ROUND_EACH = 1
};

/*
 * Matrices of rows x columns, a row being one token; elements of a row lie side by side. A stride
 * is the distance between rows in elements, at least columns.
 */
typedef struct {
  int64_t struct_size;
  /* In: the latents at sigma. Out: at sigma_next. F32, BF16 or (CUDA) F16. */
  void *latents;
  /* The velocity, with CFG the conditional one. F32, BF16 or (CUDA) F16. */
  const void *v_pos;
  /* The unconditional velocity, of the same type; null if and only if cfg_mode is NONE. */
  const void *v_neg;
  /* Out, optional (null): the new latents rounded to BF16, for the next transformer call. */
  void *latents_bf16;
  int64_t rows;
  int64_t columns;
  int64_t latents_stride;
  int64_t v_pos_stride;
  int64_t v_neg_stride;
  int64_t latents_bf16_stride;
  glance_dtype latents_dtype;
  glance_dtype velocity_dtype;
  glance_cfg_mode cfg_mode;
  glance_rounding rounding;
  float cfg_scale;
  float sigma;
  float sigma_next;
  glance_device device;
  /* The CUDA device's number; 0 on CPU. */
  int32_t device_index;
  int32_t reserved;
  /* CUDA, optional (null): device memory that holds sigma, sigma_next and cfg_scale, read when the
     work runs in place of the fields of that name, so that a captured graph takes each step's own.
     Null on the CPU. */
  const float *schedule;
} glance_flow_step_args;

/*
 * Runs the update. stream is a cudaStream_t (null is the default stream) and null on CPU, where the
 * call returns when the work is done; on CUDA it returns when the work is queued, and may be
 * captured in a graph.
 *
 * Refused: outputs that overlap each other or an input (judged by address range), pointers not
 * aligned to their element, sizes below zero, sigmas or a cfg_scale that are not finite. NaN and
 * infinity in the tensors pass through. With no rows or no columns there is nothing to do, and the
 * pointers may be null.
 */
GLANCE_API glance_status glance_flow_step(const glance_flow_step_args *args, void *stream);

#ifdef __cplusplus
}
#endif

#endif
