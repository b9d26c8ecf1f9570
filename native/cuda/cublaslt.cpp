// lora_linear by cuBLASLt: see the header.
#include "cuda/cublaslt.h"

#include <cinttypes>

#include "core/status.h"
#include "cuda/cublaslt_library.h"
#include "cuda/cublaslt_product.h"
#include "cuda/device.h"
#include "cuda/joined.h"

namespace glance {
namespace {

// Joined rows are multiples of this many elements, so that each begins at 16 bytes.
constexpr int64_t kJoinedColumns = 8;

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

int64_t bytes_of(glance_dtype dtype) { return dtype == GLANCE_F32 ? 4 : 2; }

// Whether an adapter may touch the linear, or its W is in no layout that the library knows.
bool is_joined(const LoraParams &p, const LinearParams &l) {
  for (int i = 0; i < p.adapter_count; ++i) {
    if (l.up[i].rank > 0) return true;
  }
  return l.w_column_stride != 1 || l.w_row_stride < p.k;
}

// Whether the library gives f32 sums only, and finish_sums the rest: see the header.
bool has_sums(const LinearParams &l, glance_dtype dtype) {
  return l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL ||
         (l.epilogue == GLANCE_EPILOGUE_GELU_TANH && dtype == GLANCE_F32);
}

int64_t joined_columns(const LoraParams &p, const LinearParams &l) {
  int32_t rank = 0;
  for (int i = 0; i < p.adapter_count; ++i) rank = l.up[i].rank > rank ? l.up[i].rank : rank;
  return round_up(int64_t{p.k} + rank, kJoinedColumns);
}

// The workspace's parts, one behind the other.
struct Parts {
  int64_t x = 0;
  int64_t w = 0;
  int64_t bias = 0;
  int64_t sums = 0;
  int64_t library = 0;
  int64_t bytes = 0;

  Parts(const LoraParams &p, glance_dtype dtype) noexcept {
    int64_t x_bytes = 0, w_bytes = 0, bias_bytes = 0, sums_bytes = 0;
    const auto grow = [](int64_t *most, int64_t needed) {
      *most = needed > *most ? needed : *most;
    };
    for (int i = 0; i < p.linear_count; ++i) {
      const LinearParams &l = p.linears[i];
      grow(&bias_bytes, round_up(l.n, kJoinedColumns) * bytes_of(dtype));
      if (is_joined(p, l)) {
        grow(&x_bytes, p.rows * joined_columns(p, l) * bytes_of(dtype));
        grow(&w_bytes, l.n * joined_columns(p, l) * bytes_of(dtype));
      }
      if (has_sums(l, dtype)) {
        grow(&sums_bytes, int64_t{p.rows} * l.n * 4);
      }
    }
    x = take(x_bytes);
    w = take(w_bytes);
    bias = take(bias_bytes);
    sums = take(sums_bytes);
    library = take(kCublasLtWorkspaceBytes);
  }

 private:
  int64_t take(int64_t size) {
    constexpr int64_t kAlignment = 256;
    const int64_t begin = bytes;
    bytes += round_up(size, kAlignment);
    return begin;
  }
};

const void *element(const void *data, int64_t index, glance_dtype dtype) {
  return static_cast<const char *>(data) + index * bytes_of(dtype);
}
void *element(void *data, int64_t index, glance_dtype dtype) {
  return static_cast<char *>(data) + index * bytes_of(dtype);
}

// Rows begin to end - 1, all with one adapter or with none.
struct Run {
  int32_t begin;
  int32_t end;
};

class Linears {
 public:
  Linears(const LoraParams &p, glance_dtype dtype, void *workspace, const CublasLt &library,
          cublasLtHandle_t handle, int device, cudaStream_t stream) noexcept
      : p_(p),
        dtype_(dtype),
        workspace_(static_cast<char *>(workspace)),
        parts_(p, dtype),
        library_(library),
        handle_(handle),
        device_(device),
        stream_(stream) {}

  glance_status all() noexcept {
    glance_status status = GLANCE_OK;
    for (int i = 0; status == GLANCE_OK && i < p_.linear_count; ++i) status = linear(p_.linears[i]);
    return status;
  }

 private:
  void *x() const { return workspace_ + parts_.x; }
  void *w() const { return workspace_ + parts_.w; }

  glance_status linear(const LinearParams &l) noexcept {
    const void *bias = l.bias;
    glance_status status = GLANCE_OK;
    if (bias != nullptr && reinterpret_cast<uintptr_t>(bias) % 16 != 0) {
      bias = workspace_ + parts_.bias;
      status = copy_bias(l);
    }
    if (!is_joined(p_, l)) {
      return status == GLANCE_OK ? whole_runs(l, bias) : status;
    }
    // One adapter after the other, so that W is joined once with each.
    for (int adapter = -1; status == GLANCE_OK && adapter < p_.adapter_count; ++adapter) {
      status = joined_runs(l, bias, adapter);
    }
    return status;
  }

  glance_status copy_bias(const LinearParams &l) noexcept {
    JoinParams join = {};
    join.left = l.bias;
    join.left_column_stride = 1;
    join.joined = workspace_ + parts_.bias;
    join.rows = 1;
    join.columns = static_cast<int32_t>(round_up(l.n, kJoinedColumns));
    join.left_columns = l.n;
    return join_cuda(join, dtype_, stream_);
  }

  // The next rows from segment *next on that have this adapter; end is 0 if there are none.
  Run next_run(int adapter, int *next) const {
    Run run = {0, 0};
    for (; *next < p_.segment_count; ++*next) {
      const SegmentParams &s = p_.segments[*next];
      if (s.begin == s.end) continue;
      if (s.adapter != adapter) {
        if (run.end > 0) break;
        continue;
      }
      if (run.end == 0) run.begin = s.begin;
      run.end = s.end;
    }
    return run;
  }

  // What no adapter touches: all rows at once.
  glance_status whole_runs(const LinearParams &l, const void *bias) noexcept {
    const SegmentParams &first = p_.segments[0];
    const SegmentParams &last = p_.segments[p_.segment_count - 1];
    CublasLtProduct product = product_of(l, bias, {first.begin, last.end});
    product.x = element(p_.x, first.begin * p_.x_stride, dtype_);
    product.x_stride = p_.x_stride;
    product.w = l.w;
    product.w_stride = l.w_row_stride;
    product.k = p_.k;
    return finish(l, product, {first.begin, last.end});
  }

  glance_status joined_runs(const LinearParams &l, const void *bias, int adapter) noexcept {
    constexpr UpParams kNone = {};
    const UpParams &up = adapter < 0 ? kNone : l.up[adapter];
    bool has_w = false;
    int next = 0;
    glance_status status = GLANCE_OK;
    for (Run run = next_run(adapter, &next); status == GLANCE_OK && run.end > 0;
         run = next_run(adapter, &next)) {
      if (!has_w) status = join_w(l, up);
      has_w = true;
      if (status == GLANCE_OK) status = join_x(l, up, run);
      if (status != GLANCE_OK) break;
      const int64_t columns = joined_columns(p_, l);
      CublasLtProduct product = product_of(l, bias, run);
      product.x = element(x(), run.begin * columns, dtype_);
      product.x_stride = columns;
      product.w = w();
      product.w_stride = columns;
      product.k = columns;
      status = finish(l, product, run);
    }
    return status;
  }

  glance_status join_w(const LinearParams &l, const UpParams &up) noexcept {
    JoinParams join = {};
    join.left = l.w;
    join.left_row_stride = l.w_row_stride;
    join.left_column_stride = l.w_column_stride;
    join.right = up.b;
    join.right_row_stride = up.row_stride;
    join.right_column_stride = up.column_stride;
    join.joined = w();
    join.rows = l.n;
    join.columns = static_cast<int32_t>(joined_columns(p_, l));
    join.left_columns = p_.k;
    join.right_columns = up.rank;
    return join_cuda(join, dtype_, stream_);
  }

  glance_status join_x(const LinearParams &l, const UpParams &up, Run run) noexcept {
    const int64_t columns = joined_columns(p_, l);
    JoinParams join = {};
    join.left = element(p_.x, run.begin * p_.x_stride, dtype_);
    join.left_row_stride = p_.x_stride;
    join.left_column_stride = 1;
    join.right = up.rank == 0 ? nullptr
                              : element(static_cast<const void *>(p_.h),
                                        run.begin * p_.h_stride + up.first, dtype_);
    join.right_row_stride = p_.h_stride;
    join.right_column_stride = 1;
    join.joined = element(x(), run.begin * columns, dtype_);
    join.rows = run.end - run.begin;
    join.columns = static_cast<int32_t>(columns);
    join.left_columns = p_.k;
    join.right_columns = up.rank;
    return join_cuda(join, dtype_, stream_);
  }

  // All but x, w and k.
  CublasLtProduct product_of(const LinearParams &l, const void *bias, Run run) const {
    CublasLtProduct product = {};
    product.rows = run.end - run.begin;
    product.n = l.n;
    product.dtype = dtype_;
    product.y_dtype = dtype_;
    product.y = element(l.y, run.begin * l.y_stride, dtype_);
    product.y_stride = l.y_stride;
    product.bias = bias;
    if (has_sums(l, dtype_)) {
      product.y = workspace_ + parts_.sums;
      product.y_stride = l.n;
      product.y_dtype = GLANCE_F32;
      product.bias = nullptr;
      product.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    } else if (l.epilogue == GLANCE_EPILOGUE_GELU_TANH) {
      product.epilogue = bias != nullptr ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    } else {
      product.epilogue = bias != nullptr ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    }
    return product;
  }

  glance_status finish(const LinearParams &l, const CublasLtProduct &product, Run run) noexcept {
    const glance_status status = cublaslt_multiply(library_, handle_, device_, product,
                                                   workspace_ + parts_.library, stream_);
    if (status != GLANCE_OK || !has_sums(l, dtype_)) return status;
    return finish_sums_cuda(static_cast<const float *>(product.y), l, run.begin, run.end, dtype_,
                            stream_);
  }

  const LoraParams &p_;
  const glance_dtype dtype_;
  char *const workspace_;
  const Parts parts_;
  const CublasLt &library_;
  const cublasLtHandle_t handle_;
  const int device_;
  const cudaStream_t stream_;
};

}  // namespace

glance_status lora_linear_cublaslt(const LoraParams &params, glance_dtype dtype, void *workspace,
                                   int64_t workspace_bytes, cudaStream_t stream) noexcept {
  if (params.selection != nullptr) {
    return fail(GLANCE_UNSUPPORTED,
                "lora_linear: with adapters.selection matmul cannot be GLANCE_MATMUL_CUBLASLT: "
                "segments must be multiplied one by one, by adapters known when they are queued");
  }
  glance_status status = GLANCE_OK;
  const CublasLt *library = cublaslt_library(&status);
  if (library == nullptr) return status;
  const int64_t needed = cublaslt_workspace_bytes(params, dtype);
  if (workspace == nullptr || workspace_bytes < needed) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "lora_linear: workspace_bytes must be at least %" PRId64
                " for cuBLASLt, not %" PRId64,
                needed, workspace == nullptr ? 0 : workspace_bytes);
  }
  int device = 0;
  cublasLtHandle_t handle = nullptr;
  status = cuda_status("cudaGetDevice", cudaGetDevice(&device));
  if (status == GLANCE_OK) status = cublaslt_handle(*library, device, stream, &handle);
  if (status != GLANCE_OK) return status;
  return Linears(params, dtype, workspace, *library, handle, device, stream).all();
}

int64_t cublaslt_workspace_bytes(const LoraParams &params, glance_dtype dtype) noexcept {
  return Parts(params, dtype).bytes;
}

}  // namespace glance
