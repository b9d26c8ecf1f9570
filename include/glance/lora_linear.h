/*
 * Linears with LoRA adapters, for every linear that reads the same x, in one call:
 *
 *   h   = scale * (x A^T)                 once for all linears; A holds their down-projections
 *   y_g = epilogue_g(x W_g^T + b_g + h[:, first_g : first_g + rank_g] B_g^T)
 *
 * x is rows x K (rows: tokens), W_g is N_g x K, A is R x K, B_g is N_g x rank_g. A segment table
 * gives each range of rows its own adapter, or none, so that one batch may mix phases. The
 * up-projection is added in the accumulators of the base product; y is written once.
 *
 * Everything is accumulated in f32, over K and then over the rank, in one fixed order: a row's
 * result has the same bits whatever the number of threads and whatever other rows there are. h is
 * rounded to the type of x.
 *
 * LoRA: arXiv 2106.09685.
 */
#ifndef GLANCE_LORA_LINEAR_H
#define GLANCE_LORA_LINEAR_H

#include <glance/core.h>
#include <glance/matrix.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  /* Adapters in one call. */
  GLANCE_MAX_ADAPTERS = 8,
  /* Linears in one call. */
  GLANCE_MAX_LINEARS = 8,
  /* The rank of one adapter in one linear. */
  GLANCE_MAX_RANK = 256
};

/* Rows begin to end - 1, and their adapter: an index, or -1 for none. */
typedef struct {
  int64_t begin;
  int64_t end;
  int32_t adapter;
  int32_t reserved;
} glance_segment;

/* An adapter's down-projections, one below the other, for all linears of a call. */
typedef struct {
  /* A, R x K; R at most GLANCE_MAX_LINEARS * GLANCE_MAX_RANK. */
  const glance_matrix *down;
  /* alpha / rank times the strength; finite. */
  float scale;
  int32_t reserved;
} glance_adapter;

/*
 * The adapters of a call. Segments follow each other from row 0 to the last without gap or overlap;
 * a segment may be empty. With no adapters there may be no segments.
 */
typedef struct {
  const glance_adapter *adapters;
  const glance_segment *segments;
  int32_t adapter_count;
  int32_t segment_count;
  /* CUDA, optional (null): adapter_count indices in device memory, read when the work runs. A
     segment of adapter i gets adapter selection[i], or none if that is -1, so that a captured graph
     changes its adapters without being captured again. Others are undefined. Null on the CPU. */
  const int32_t *selection;
} glance_adapter_table;

/* An adapter's up-projection in one linear. */
typedef struct {
  /* B, N x rank; null if the adapter leaves this linear alone. */
  const glance_matrix *up;
  /* Where its rank columns of h begin. Linears that share one down-projection name the same. */
  int64_t first;
} glance_up;

/* What is done with a row's sum s before it is rounded and stored. */
typedef int32_t glance_epilogue;
enum {
  /* y = s */
  GLANCE_EPILOGUE_NONE = 0,
  /* y = s/2 * (1 + tanh(sqrt(2/pi) * (s + 0.044715 s^3))) */
  GLANCE_EPILOGUE_GELU_TANH = 1,
  /* y = residual + gate * s */
  GLANCE_EPILOGUE_GATED_RESIDUAL = 2
};

/* Which code multiplies on CUDA. What one cannot do is refused, never done by another. */
typedef int32_t glance_matmul;
enum {
  /* The fastest for the device and the shapes. */
  GLANCE_MATMUL_AUTO = 0,
  /* mma.sync (F32: fused multiply-adds): every shape and stride, compute capability 8.0 and up. */
  GLANCE_MATMUL_MMA = 1,
  /* TMA and wgmma, BF16 and F16: compute capability 9.0; x and every W with rows side by side,
     aligned to 16 bytes, at strides of a multiple of 8. */
  GLANCE_MATMUL_WGMMA = 2,
  /* NVIDIA's cuBLASLt, found when first asked for: [x h] [W B]^T, both joined in the workspace. */
  GLANCE_MATMUL_CUBLASLT = 3
};

/* One linear of a call. All memory holds elements of the call's dtype. */
typedef struct {
  /* W, N x K. */
  const glance_matrix *weight;
  /* N values, or null. */
  const void *bias;
  /* Out: rows x N. */
  void *y;
  int64_t y_stride;
  /* For GATED_RESIDUAL, else null. Row i of x has row i / rows_per_gate of gate, N values. */
  const void *gate;
  int64_t gate_stride;
  int64_t rows_per_gate;
  /* For GATED_RESIDUAL, else null: rows x N. May be y itself, with the same stride. */
  const void *residual;
  int64_t residual_stride;
  glance_epilogue epilogue;
  int32_t reserved;
} glance_linear;

typedef struct {
  int64_t struct_size;
  /* rows x K; elements of a row side by side. */
  const void *x;
  int64_t rows;
  int64_t x_stride;
  const glance_linear *linears;
  /* linear_count entries for adapter 0, then for adapter 1, ...; null without adapters. */
  const glance_up *ups;
  glance_adapter_table adapters;
  /* If not null, h as glance_modulated_norm gives it, of the call's dtype: rows x the largest R.
     The adapters' down and scale are then not read again. */
  const void *h;
  int64_t h_stride;
  int32_t linear_count;
  /* F32, BF16 or (CUDA) F16: of x, every y, bias, gate, residual, h and matrix. */
  glance_dtype dtype;
  glance_device device;
  /* The CUDA device's number; 0 on CPU. */
  int32_t device_index;
  /* CUDA: device memory of at least glance_lora_linear_workspace bytes, aligned to 256, that the
     call may use until the stream has passed it. Not read on the CPU. */
  void *workspace;
  int64_t workspace_bytes;
  /* CUDA: usually AUTO. Not read on the CPU. */
  glance_matmul matmul;
  /* With GLANCE_MATMUL_WGMMA: the columns of its output tiles, 128, 192 or 256, or 0 for whichever
     suits the shapes. 0 with the others. */
  int32_t tile_columns;
} glance_lora_linear_args;

/*
 * The bytes of workspace a call with these arguments needs: 0 on the CPU, without adapters, or with
 * h given. Their pointers to tensors are not read, nor the workspace.
 */
GLANCE_API glance_status glance_lora_linear_workspace(const glance_lora_linear_args *args,
                                                      int64_t *bytes);

/*
 * Runs the linears. stream as in glance_flow_step. On CUDA a call allocates nothing and does not
 * wait for the device, so it may be captured in a graph.
 *
 * Refused: matrices of another type, device or width; outputs that overlap an input or each other
 * (judged by address range, except linears whose y are column ranges of one matrix: same stride, no
 * shared column); segments with gaps or overlaps; a rank above GLANCE_MAX_RANK; a scale that is not
 * finite. With no rows there is nothing to do, and the pointers to tensors may be null.
 */
GLANCE_API glance_status glance_lora_linear(const glance_lora_linear_args *args, void *stream);

/*
 * The gradients of one linear with one adapter, W frozen:
 *
 *   g  = scale * (dy B)          rows x rank
 *   dx = dy W + g A              rows x K
 *   dA = g^T x                   rank x K
 *   dB = scale * dy^T (x A^T)    N x rank
 *
 * dA and dB are f32 whatever the dtype and are added to if accumulate is not 0. An output that is
 * null is not computed. Sums over rows are taken in one fixed order.
 */
typedef struct {
  int64_t struct_size;
  const void *x;
  const void *dy;
  /* A and B as tensors, not packed: training changes them at every step. */
  const void *down;
  const void *up;
  /* W transposed, K x N: glance_matrix_create with the two strides exchanged. Null without dx. */
  const glance_matrix *weight_transposed;
  void *dx;
  float *d_down;
  float *d_up;
  /* 1 or more, as the other sizes. */
  int64_t rows;
  int64_t in_features;
  int64_t out_features;
  int64_t rank;
  int64_t x_stride;
  int64_t dy_stride;
  int64_t down_stride;
  int64_t up_stride;
  int64_t dx_stride;
  int64_t d_down_stride;
  int64_t d_up_stride;
  float scale;
  int32_t accumulate;
  /* F32, BF16 or (CUDA) F16: of x, dy, A, B, W and dx. */
  glance_dtype dtype;
  glance_device device;
  int32_t device_index;
  int32_t reserved;
  /* As in glance_lora_linear_args, of glance_lora_linear_backward_workspace bytes. */
  void *workspace;
  int64_t workspace_bytes;
} glance_lora_linear_backward_args;

/* The bytes of workspace a call with these arguments needs; 0 on the CPU. */
GLANCE_API glance_status glance_lora_linear_backward_workspace(
    const glance_lora_linear_backward_args *args, int64_t *bytes);

/* Computes the gradients. stream as in glance_flow_step. */
GLANCE_API glance_status glance_lora_linear_backward(const glance_lora_linear_backward_args *args,
                                                     void *stream);

#ifdef __cplusplus
}
#endif

#endif
