// lora_linear on CUDA: describes a call to the kernels, picks the one that multiplies, and launches
// the down-projection before it.
#include "cuda/lora_linear.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cinttypes>

#include "core/adapters.h"
#include "core/checks.h"
#include "core/matrix.h"
#include "core/packed_matrix.h"
#include "core/status.h"
#include "cuda/cublaslt.h"
#include "cuda/device.h"
#include "cuda/down_projection.h"
#include "cuda/lora_params.h"
#include "cuda/lora_tiles.h"

namespace glance {
namespace {

constexpr const char *kOperation = "lora_linear";
constexpr int32_t kHopper = 90;

// With fewer output rows than two tiles, a cluster's second block would have nothing to do.
constexpr int32_t kLeastWgmmaRows = kTileRows + 1;

// h's rows are a multiple of 16 bytes.
int64_t h_stride_of(const glance_lora_linear_args &a) {
  return (h_columns(a.adapters) + 7) / 8 * 8;
}

int64_t aligned(int64_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
}

bool has_up_projection(const glance_lora_linear_args &a) {
  const int32_t count = a.adapters.adapter_count * a.linear_count;
  return std::any_of(a.ups, a.ups + count, [](const glance_up &up) { return up.up != nullptr; });
}

int64_t h_bytes(const glance_lora_linear_args &a) {
  if (a.h != nullptr || !has_up_projection(a)) return 0;
  return aligned(a.rows * h_stride_of(a) * dtype_bytes(a.dtype));
}

glance_status check_size(const char *name, int64_t size) noexcept {
  if (size <= INT32_MAX) return GLANCE_OK;
  return fail(GLANCE_UNSUPPORTED, "%s: %s is %" PRId64 "; on CUDA it is at most 2147483647",
              kOperation, name, size);
}

glance_status check_sizes(const glance_lora_linear_args &a) noexcept {
  glance_status status = check_size("rows", a.rows);
  if (status == GLANCE_OK) status = check_size("K", a.linears[0].weight->columns);
  for (int32_t i = 0; status == GLANCE_OK && i < a.linear_count; ++i) {
    status = check_size("N", a.linears[i].weight->rows);
  }
  return status;
}

void describe_linear(const glance_lora_linear_args &a, int32_t index, LinearParams *to) {
  const glance_linear &l = a.linears[index];
  to->w = l.weight->data;
  to->w_row_stride = l.weight->row_stride;
  to->w_column_stride = l.weight->column_stride;
  to->bias = l.bias;
  to->y = l.y;
  to->y_stride = l.y_stride;
  to->gate = l.gate;
  to->gate_stride = l.gate_stride;
  to->rows_per_gate = static_cast<int32_t>(std::min<int64_t>(l.rows_per_gate, INT32_MAX));
  to->residual = l.residual;
  to->residual_stride = l.residual_stride;
  to->n = static_cast<int32_t>(l.weight->rows);
  to->epilogue = l.epilogue;
}

void describe_adapters(const glance_lora_linear_args &a, LoraParams *p) {
  p->adapter_count = a.adapters.adapter_count;
  p->selection = a.adapters.selection;
  for (int32_t k = 0; k < p->adapter_count; ++k) {
    const glance_matrix &down = *a.adapters.adapters[k].down;
    p->down[k] = {down.data, down.row_stride, down.column_stride, static_cast<int32_t>(down.rows),
                  a.adapters.adapters[k].scale};
    for (int32_t i = 0; i < a.linear_count; ++i) {
      const glance_up &up = a.ups[k * a.linear_count + i];
      if (up.up == nullptr) continue;
      p->linears[i].up[k] = {up.up->data, up.up->row_stride, up.up->column_stride,
                             static_cast<int32_t>(up.up->columns), static_cast<int32_t>(up.first)};
    }
  }
}

// Everything but the segments. Without an up-projection there are no adapters to speak of.
LoraParams describe(const glance_lora_linear_args &a) {
  LoraParams p = {};
  p.x = a.x;
  p.x_stride = a.x_stride;
  p.rows = static_cast<int32_t>(a.rows);
  p.k = static_cast<int32_t>(a.linears[0].weight->columns);
  p.linear_count = a.linear_count;
  for (int32_t i = 0; i < a.linear_count; ++i) describe_linear(a, i, &p.linears[i]);
  if (!has_up_projection(a)) return p;
  describe_adapters(a, &p);
  p.h = const_cast<void *>(a.h != nullptr ? a.h : a.workspace);
  p.h_stride = a.h != nullptr ? a.h_stride : h_stride_of(a);
  p.h_from_previous = a.h == nullptr;
  return p;
}

void take_all_rows(LoraParams *p) {
  p->segment_count = 1;
  p->segments[0] = {0, p->rows, -1, 0};
  p->row_tiles = (p->rows - 1) / kTileRows + 1;
}

// GLANCE_OK if wgmma can do the call; else the status and message of a call that asked for it.
glance_status check_wgmma(const LoraParams &p, glance_dtype dtype) noexcept {
  int32_t capability = 0;
  const glance_status status = compute_capability(&capability);
  if (status != GLANCE_OK) return status;
  const char *reason = why_not_wgmma(p, dtype);
  if (capability != kHopper) reason = "the device's compute capability is not 9.0";
  if (!built_for_hopper()) reason = "this library was built without sm_90a";
  if (reason == nullptr) return GLANCE_OK;
  return fail(GLANCE_UNSUPPORTED, "%s: GLANCE_MATMUL_WGMMA: %s", kOperation, reason);
}

glance_status choose(const LoraParams &p, const glance_lora_linear_args &a,
                     glance_matmul *matmul) noexcept {
  *matmul = a.matmul;
  if (a.matmul == GLANCE_MATMUL_WGMMA) return check_wgmma(p, a.dtype);
  if (a.matmul != GLANCE_MATMUL_AUTO) return GLANCE_OK;
  int32_t capability = 0;
  const glance_status status = compute_capability(&capability);
  const bool wgmma = capability == kHopper && built_for_hopper() && p.rows >= kLeastWgmmaRows &&
                     why_not_wgmma(p, a.dtype) == nullptr;
  *matmul = wgmma ? GLANCE_MATMUL_WGMMA : GLANCE_MATMUL_MMA;
  return status;
}

glance_status multiply(const LoraParams &p, const glance_lora_linear_args &a, glance_matmul matmul,
                       cudaStream_t stream) noexcept {
  if (matmul == GLANCE_MATMUL_CUBLASLT) {
    const int64_t used = h_bytes(a);
    return lora_linear_cublaslt(p, a.dtype, static_cast<char *>(a.workspace) + used,
                                a.workspace_bytes - used, stream);
  }
  if (a.dtype == GLANCE_F32) return lora_tiles_f32(p, stream);
  if (matmul == GLANCE_MATMUL_WGMMA) {
    return lora_tiles_wgmma(p, a.dtype, a.tile_columns, stream);
  }
  return lora_tiles_mma(p, a.dtype, stream);
}

// One launch of each kernel, for the segments that p has.
glance_status run(const LoraParams &p, const glance_lora_linear_args &a, glance_matmul matmul,
                  cudaStream_t stream) noexcept {
  if (p.h_from_previous) {
    const int32_t idle = matmul == GLANCE_MATMUL_WGMMA ? idle_with_wgmma(p, a.tile_columns) : 0;
    const glance_status status = down_projection_cuda(p, a.dtype, stream, idle);
    if (status != GLANCE_OK) return status;
  }
  return multiply(p, a, matmul, stream);
}

// The most that any launch needs, beside h.
int64_t cublaslt_bytes(const glance_lora_linear_args &a) noexcept {
  LoraParams p = describe(a);
  if (p.adapter_count == 0) {
    take_all_rows(&p);
    return cublaslt_workspace_bytes(p, a.dtype);
  }
  int64_t most = 0;
  for (int32_t next = 0; take_segments(a.adapters, &next, &p);) {
    most = std::max(most, cublaslt_workspace_bytes(p, a.dtype));
  }
  return most;
}

}  // namespace

glance_status lora_linear_cuda(const glance_lora_linear_args &args, void *stream) noexcept {
  int64_t needed = 0;
  glance_status status = check_sizes(args);
  if (status == GLANCE_OK) status = lora_linear_workspace_cuda(args, &needed);
  if (status == GLANCE_OK) {
    status = check_workspace(kOperation, args.workspace, args.workspace_bytes, needed);
  }
  if (status != GLANCE_OK) return status;
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  LoraParams p = describe(args);
  glance_matmul matmul = GLANCE_MATMUL_AUTO;
  status = choose(p, args, &matmul);
  if (status != GLANCE_OK) return status;
  const auto queue = static_cast<cudaStream_t>(stream);
  if (p.adapter_count == 0) {
    take_all_rows(&p);
    return run(p, args, matmul, queue);
  }
  for (int32_t next = 0; status == GLANCE_OK && take_segments(args.adapters, &next, &p);) {
    status = run(p, args, matmul, queue);
  }
  return status;
}

glance_status lora_linear_workspace_cuda(const glance_lora_linear_args &args,
                                         int64_t *bytes) noexcept {
  *bytes = h_bytes(args);
  if (args.matmul == GLANCE_MATMUL_CUBLASLT) *bytes += cublaslt_bytes(args);
  return GLANCE_OK;
}

}  // namespace glance
