/*
 * From a layer's q, k and v projections to what attention reads: q and k RMS-normalised for each
 * head and rotated by position, v as it is, all three moved to a layout with the heads outside.
 *
 *   n = x / sqrt(mean(x^2) + epsilon) * weight                       over one head's dim channels
 *   out[2j]     = n[2j] * cos[j] - n[2j + 1] * sin[j]
 *   out[2j + 1] = n[2j] * sin[j] + n[2j + 1] * cos[j]                j = 0 ... dim / 2 - 1
 *
 * All in f32; the result is rounded once, when stored. Rotary embedding: arXiv 2104.09864.
 */
#ifndef GLANCE_QK_NORM_ROPE_H
#define GLANCE_QK_NORM_ROPE_H

#include <glance/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Inputs are [batch, tokens, heads, dim] with dim side by side and heads dim apart: column ranges
 * of projections. Outputs are [batch, heads, tokens, dim] with dim side by side and the distances
 * below, the same for all three, so that a stream of tokens can be written to its place among
 * others.
 */
typedef struct {
  int64_t struct_size;
  const void *q;
  const void *k;
  /* Null exactly if v_out is. */
  const void *v;
  /* dim values each. */
  const void *q_weight;
  const void *k_weight;
  /* cos and sin in turn, f32, [tokens, dim / 2, 2], contiguous: of this call's first token on. */
  const float *rotation;
  void *q_out;
  void *k_out;
  void *v_out;
  int64_t batch;
  int64_t tokens;
  int64_t heads;
  /* Even. */
  int64_t dim;
  /* Of q, k and v. */
  int64_t in_batch_stride;
  int64_t in_token_stride;
  /* Of the outputs. */
  int64_t out_batch_stride;
  int64_t out_head_stride;
  int64_t out_token_stride;
  float epsilon;
  /* F32, BF16 or (CUDA) F16: of q, k, v and the weights. */
  glance_dtype dtype;
  /* F32, BF16 or (CUDA) F16: of the outputs. */
  glance_dtype out_dtype;
  glance_device device;
  int32_t device_index;
  int32_t reserved;
} glance_qk_norm_rope_args;

/*
 * Runs the operation. stream as in glance_flow_step. Outputs may not overlap inputs or each other
 * (judged by address range).
 *
 * Refused too: strides, of the inputs or of the outputs, that do not nest. Of the axes with more
 * than one entry, in the order of their strides, each must step over all that the ones before it
 * cover, which begins with heads * dim elements of an input and dim of an output; so no stride may
 * be 0 or negative. The stride of an axis with one entry is not read. With no batch, tokens, heads
 * or dim there is nothing to do, and the pointers may be null.
 */
GLANCE_API glance_status glance_qk_norm_rope(const glance_qk_norm_rope_args *args, void *stream);

#ifdef __cplusplus
}
#endif

#endif
