// lora_linear_backward on CUDA.
//
// Formula: glance/lora_linear.h. x rows x K, dy rows x N, A rank x K, B N x rank, W^T K x N. Two
// projections, g = scale * (dy B) and scale * (x A^T), are down-projections as lora_linear has
// them, accumulated in f32 and rounded to the call's type. dx is a LoRA linear itself: of dy, with
// W^T for its weight, g for its h and A^T for its B. dA = g^T x and dB^T = (scale * x A^T)^T dy are
// row_products. One projection at a time is in the workspace.
//
// Nothing need be aligned beyond its elements; each of those kernels says what makes it fast. At
// 4608 rows, 3072 -> 3072 and rank 16, dx is as much work as the linear's forward pass, 87 GFLOP;
// the rest reads x and dy twice each, 113 MB. Not measured yet.
#include <algorithm>
#include <cinttypes>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/packed_matrix.h"
#include "core/status.h"
#include "cuda/device.h"
#include "cuda/down_projection.h"
#include "cuda/lora_linear.h"
#include "cuda/lora_linear_backward.h"
#include "cuda/lora_params.h"
#include "cuda/row_products.h"

namespace glance {
namespace {

constexpr const char *kOperation = "lora_linear_backward";

int64_t aligned(int64_t bytes) {
  return (bytes + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
}

// What is where in the workspace: a projection, then row_products' partial sums.
struct Layout {
  // Of a projection: rows aligned to 16 bytes.
  int64_t stride;
  int64_t projection_bytes;
  int64_t bytes;

  explicit Layout(const glance_lora_linear_backward_args &a) {
    stride = (a.rank + 7) / 8 * 8;
    projection_bytes = aligned(a.rows * stride * dtype_bytes(a.dtype));
    const int64_t columns = std::max(a.in_features, a.out_features);
    bytes = projection_bytes + aligned(partial_bytes(a.rows, a.rank, columns));
  }
};

class Backward {
 public:
  Backward(const glance_lora_linear_backward_args &args, cudaStream_t stream)
      : a_(args),
        layout_(args),
        stream_(stream),
        projection_(args.workspace),
        partial_(reinterpret_cast<float *>(static_cast<unsigned char *>(args.workspace) +
                                           layout_.projection_bytes)) {}

  glance_status run() noexcept {
    glance_status status = GLANCE_OK;
    if (a_.dx != nullptr || a_.d_down != nullptr) {
      status =
          project(a_.dy, a_.dy_stride, a_.out_features, {a_.up, 1, a_.up_stride, rank(), a_.scale});
    }
    if (status == GLANCE_OK && a_.dx != nullptr) status = input_gradient();
    if (status == GLANCE_OK && a_.d_down != nullptr) {
      status = multiply(a_.x, a_.x_stride, a_.in_features, a_.d_down, a_.d_down_stride, 1);
    }
    if (status != GLANCE_OK || a_.d_up == nullptr) return status;
    status =
        project(a_.x, a_.x_stride, a_.in_features, {a_.down, a_.down_stride, 1, rank(), a_.scale});
    if (status != GLANCE_OK) return status;
    return multiply(a_.dy, a_.dy_stride, a_.out_features, a_.d_up, 1, a_.d_up_stride);
  }

 private:
  int32_t rank() const { return static_cast<int32_t>(a_.rank); }

  glance_status project(const void *rows, int64_t stride, int64_t columns,
                        const DownParams &down) noexcept {
    LoraParams p = {};
    p.x = rows;
    p.x_stride = stride;
    p.h = projection_;
    p.h_stride = layout_.stride;
    p.rows = static_cast<int32_t>(a_.rows);
    p.k = static_cast<int32_t>(columns);
    p.adapter_count = 1;
    p.segment_count = 1;
    p.row_tiles = (p.rows - 1) / kTileRows + 1;
    p.down[0] = down;
    p.segments[0] = {0, p.rows, 0, 0};
    return down_projection_cuda(p, a_.dtype, stream_);
  }

  // A view: nothing is packed on CUDA.
  glance_matrix matrix(const void *data, int64_t rows, int64_t columns, int64_t row_stride,
                       int64_t column_stride) const {
    glance_matrix m = {};
    m.rows = rows;
    m.columns = columns;
    m.dtype = a_.dtype;
    m.device = a_.device;
    m.device_index = a_.device_index;
    m.data = data;
    m.row_stride = row_stride;
    m.column_stride = column_stride;
    return m;
  }

  // dx = dy W + g A, g being the projection.
  glance_status input_gradient() noexcept {
    const glance_matrix down = matrix(a_.up, a_.rank, a_.out_features, 1, a_.up_stride);
    const glance_matrix up = matrix(a_.down, a_.in_features, a_.rank, 1, a_.down_stride);
    const glance_adapter adapter = {&down, a_.scale, 0};
    const glance_segment segment = {0, a_.rows, 0, 0};
    const glance_up of_linear = {&up, 0};
    glance_linear linear = {};
    linear.weight = a_.weight_transposed;
    linear.y = a_.dx;
    linear.y_stride = a_.dx_stride;
    glance_lora_linear_args call = {};
    call.struct_size = sizeof call;
    call.x = a_.dy;
    call.rows = a_.rows;
    call.x_stride = a_.dy_stride;
    call.linears = &linear;
    call.ups = &of_linear;
    call.adapters = {&adapter, &segment, 1, 1, nullptr};
    call.h = projection_;
    call.h_stride = layout_.stride;
    call.linear_count = 1;
    call.dtype = a_.dtype;
    call.device = a_.device;
    call.device_index = a_.device_index;
    return lora_linear_cuda(call, stream_);
  }

  // out = projection^T q
  glance_status multiply(const void *q, int64_t q_stride, int64_t columns, float *out,
                         int64_t rank_stride, int64_t column_stride) noexcept {
    RowProducts products = {};
    products.p = projection_;
    products.p_stride = layout_.stride;
    products.q = q;
    products.q_stride = q_stride;
    products.out = out;
    products.rank_stride = rank_stride;
    products.column_stride = column_stride;
    products.partial = partial_;
    products.rows = a_.rows;
    products.rank = rank();
    products.columns = static_cast<int32_t>(columns);
    products.accumulate = a_.accumulate != 0;
    return row_products_cuda(products, a_.dtype, stream_);
  }

  const glance_lora_linear_backward_args &a_;
  const Layout layout_;
  const cudaStream_t stream_;
  // g, then scale * (x A^T).
  void *const projection_;
  float *const partial_;
};

glance_status check_size(const char *name, int64_t size) noexcept {
  if (size <= INT32_MAX) return GLANCE_OK;
  return fail(GLANCE_UNSUPPORTED, "%s: %s is %" PRId64 "; on CUDA it is at most 2147483647",
              kOperation, name, size);
}

glance_status check_sizes(const glance_lora_linear_backward_args &a) noexcept {
  glance_status status = check_size("rows", a.rows);
  if (status == GLANCE_OK) status = check_size("in_features", a.in_features);
  if (status == GLANCE_OK) status = check_size("out_features", a.out_features);
  return status;
}

}  // namespace

glance_status lora_linear_backward_cuda(const glance_lora_linear_backward_args &args,
                                        void *stream) noexcept {
  glance_status status = check_sizes(args);
  if (status != GLANCE_OK) return status;
  status = check_workspace(kOperation, args.workspace, args.workspace_bytes, Layout(args).bytes);
  if (status != GLANCE_OK) return status;
  const DeviceGuard device(args.device_index);
  if (device.status() != GLANCE_OK) return device.status();
  return Backward(args, static_cast<cudaStream_t>(stream)).run();
}

glance_status lora_linear_backward_workspace_cuda(const glance_lora_linear_backward_args &args,
                                                  int64_t *bytes) noexcept {
  const glance_status status = check_sizes(args);
  if (status == GLANCE_OK) *bytes = Layout(args).bytes;
  return status;
}

}  // namespace glance
