/*
 * Softmax attention without a mask:
 *
 *   out = softmax(scale * q k^T) v          for each batch entry and head
 *
 * Scores, softmax and sums are in f32; with bf16 tensors the factors of both products are bf16, so
 * the softmax's weights (at most 1 before they are divided by their sum) are rounded to it. A row's
 * result has the same bits whatever the number of threads and whatever other queries there are.
 * arXiv 1706.03762.
 */
#ifndef GLANCE_ATTENTION_H
#define GLANCE_ATTENTION_H

#include <glance/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * q is [batch, heads, queries, dim], k and v are [batch, heads, keys, dim], out is as q; the dim
 * channels of one head lie side by side, and the other distances are free (0 or more for inputs),
 * so out may be written as [batch, queries, heads * dim]. All sizes are 1 to 2^31 - 1, and keys *
 * dim is at most 2^48.
 */
typedef struct {
  int64_t struct_size;
  const void *q;
  const void *k;
  const void *v;
  void *out;
  int64_t batch;
  int64_t heads;
  int64_t queries;
  int64_t keys;
  int64_t dim;
  int64_t q_batch_stride;
  int64_t q_head_stride;
  int64_t q_token_stride;
  /* Of k and of v. */
  int64_t kv_batch_stride;
  int64_t kv_head_stride;
  int64_t kv_token_stride;
  int64_t out_batch_stride;
  int64_t out_head_stride;
  int64_t out_token_stride;
  /* Finite; usually 1 / sqrt(dim). */
  float scale;
  /* F32 or BF16: of q, k and v. */
  glance_dtype dtype;
  /* F32 or BF16: of out. */
  glance_dtype out_dtype;
  glance_device device;
  int32_t device_index;
  int32_t reserved;
} glance_attention_args;

/*
 * Runs the operation. stream as in glance_flow_step. out may not overlap the inputs (judged by
 * address range), and no two of its rows may share an element: heads and tokens nested in either
 * order, batch outside.
 */
GLANCE_API glance_status glance_attention(const glance_attention_args *args, void *stream);

#ifdef __cplusplus
}
#endif

#endif
