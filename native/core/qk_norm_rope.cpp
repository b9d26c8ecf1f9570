// glance_qk_norm_rope: rejects bad arguments, then hands over to the device's code.
#include "cpu/qk_norm_rope.h"

#include <glance/qk_norm_rope.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/status.h"
#include "cuda/qk_norm_rope.h"

namespace glance {
namespace {

constexpr const char *kOperation = "qk_norm_rope";

glance_status check_numbers(const glance_qk_norm_rope_args &a) noexcept {
  if (a.batch < 0) return reject(kOperation, "batch", "0 or more", a.batch);
  if (a.tokens < 0) return reject(kOperation, "tokens", "0 or more", a.tokens);
  if (a.heads < 0) return reject(kOperation, "heads", "0 or more", a.heads);
  if (a.dim < 0 || a.dim % 2 != 0) return reject(kOperation, "dim", "even, 0 or more", a.dim);
  glance_status status = check_epsilon(kOperation, a.epsilon);
  if (status == GLANCE_OK) status = check_dtype(kOperation, "dtype", a.dtype, a.device);
  if (status == GLANCE_OK) status = check_dtype(kOperation, "out_dtype", a.out_dtype, a.device);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  return status;
}

struct Axis {
  const char *name;
  int64_t size;
  int64_t stride;
};

// Elements from a tensor's first to the one after its last, if its axes nest, in whatever order:
// each steps over all that the narrower ones cover, so that no two places are one. The innermost
// axis is elements side by side.
template <int kAxes>
glance_status check_nested(Axis (&axes)[kAxes], int64_t *elements) noexcept {
  std::sort(axes, axes + kAxes, [](const Axis &p, const Axis &q) { return p.stride < q.stride; });
  for (const Axis &axis : axes) {
    if (axis.size == 1) continue;
    if (axis.stride < *elements) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: %s must be at least %" PRId64 ", not %" PRId64,
                  kOperation, axis.name, *elements, axis.stride);
    }
    int64_t steps;
    if (__builtin_mul_overflow(axis.size - 1, axis.stride, &steps) ||
        __builtin_add_overflow(*elements, steps, elements)) {
      return fail(GLANCE_INVALID_ARGUMENT,
                  "%s: %" PRId64 " times %s %" PRId64 " does not fit an address space", kOperation,
                  axis.size, axis.name, axis.stride);
    }
  }
  return GLANCE_OK;
}

// How many elements an input and an output reach over.
glance_status check_strides(const glance_qk_norm_rope_args &a, int64_t *in, int64_t *out) noexcept {
  if (__builtin_mul_overflow(a.heads, a.dim, in)) {
    return reject(kOperation, "heads", "so few that a token fits an address space", a.heads);
  }
  *out = a.dim;
  Axis inputs[] = {{"in_token_stride", a.tokens, a.in_token_stride},
                   {"in_batch_stride", a.batch, a.in_batch_stride}};
  Axis outputs[] = {{"out_token_stride", a.tokens, a.out_token_stride},
                    {"out_head_stride", a.heads, a.out_head_stride},
                    {"out_batch_stride", a.batch, a.out_batch_stride}};
  const glance_status status = check_nested(inputs, in);
  return status == GLANCE_OK ? check_nested(outputs, out) : status;
}

glance_status check_memory(const glance_qk_norm_rope_args &a) noexcept {
  int64_t in = 0, out = 0;
  glance_status status = check_strides(a, &in, &out);
  if (status != GLANCE_OK) return status;
  // A tensor of several axes is judged by its address range, as one row.
  const auto tensor = [](const char *name, const void *data, int64_t elements, glance_dtype dtype) {
    return Matrix{kOperation, name, data, 1, elements, elements, dtype_bytes(dtype)};
  };
  const Matrix inputs[] = {
      tensor("q", a.q, in, a.dtype),
      tensor("k", a.k, in, a.dtype),
      tensor("q_weight", a.q_weight, a.dim, a.dtype),
      tensor("k_weight", a.k_weight, a.dim, a.dtype),
      {kOperation, "rotation", a.rotation, a.tokens, a.dim, a.dim, dtype_bytes(GLANCE_F32)},
      tensor("v", a.v, in, a.dtype)};
  const Matrix outputs[] = {tensor("q_out", a.q_out, out, a.out_dtype),
                            tensor("k_out", a.k_out, out, a.out_dtype),
                            tensor("v_out", a.v_out, out, a.out_dtype)};
  // v and v_out come last, and may be absent.
  const int absent = a.v == nullptr ? 1 : 0;
  for (int i = 0; i < 6 - absent && status == GLANCE_OK; ++i) status = check(inputs[i]);
  for (int o = 0; o < 3 - absent && status == GLANCE_OK; ++o) {
    status = check(outputs[o]);
    for (int i = 0; i < 6 - absent && status == GLANCE_OK; ++i) {
      status = check_apart(outputs[o], inputs[i]);
    }
    for (int i = 0; i < o && status == GLANCE_OK; ++i) status = check_apart(outputs[o], outputs[i]);
  }
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_qk_norm_rope(const glance_qk_norm_rope_args *args, void *stream) {
  using namespace glance;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "qk_norm_rope: args is null");
  const glance_qk_norm_rope_args &a = *args;
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size", "sizeof(glance_qk_norm_rope_args) of this ABI version",
                  a.struct_size);
  }
  const glance_status numbers = check_numbers(a);
  if (numbers != GLANCE_OK) return numbers;
  if (a.batch == 0 || a.tokens == 0 || a.heads == 0 || a.dim == 0) return GLANCE_OK;
  if ((a.v == nullptr) != (a.v_out == nullptr)) {
    return fail(GLANCE_INVALID_ARGUMENT, "qk_norm_rope: v must be null if v_out is, and only then");
  }
  const glance_status memory = check_memory(a);
  if (memory != GLANCE_OK) return memory;
  if (a.device == GLANCE_CUDA) return qk_norm_rope_cuda(a, stream);
  const glance_status no_stream = check_no_stream(kOperation, stream);
  if (no_stream == GLANCE_OK) qk_norm_rope_cpu(a);
  return no_stream;
}
