// glance_attention: rejects bad arguments, then hands over to the device's code.
#include "cpu/attention.h"

#include <glance/attention.h>

#include <cinttypes>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/status.h"

namespace glance {
namespace {

constexpr const char *kOperation = "attention";

// Beyond any memory, and small enough that the size of a workspace does not overflow.
constexpr int64_t kMostKeyElements = int64_t{1} << 48;

struct Number {
  const char *name;
  int64_t value;
};

glance_status check_numbers(const glance_attention_args &a) noexcept {
  const Number sizes[] = {{"batch", a.batch},
                          {"heads", a.heads},
                          {"queries", a.queries},
                          {"keys", a.keys},
                          {"dim", a.dim}};
  for (const Number &size : sizes) {
    if (size.value < 1 || size.value > INT32_MAX) {
      return reject(kOperation, size.name, "1 to 2147483647", size.value);
    }
  }
  if (a.keys > kMostKeyElements / a.dim) {
    return reject(kOperation, "keys", "at most 2^48 / dim", a.keys);
  }
  glance_status status = check_f32_or_bf16(kOperation, "dtype", a.dtype);
  if (status == GLANCE_OK) status = check_f32_or_bf16(kOperation, "out_dtype", a.out_dtype);
  if (status == GLANCE_OK) status = check_finite(kOperation, "scale", a.scale);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  return status;
}

// A tensor of [batch, heads, tokens, dim] with free distances.
struct Heads {
  const char *name;
  const void *data;
  const glance_attention_args &a;
  int64_t tokens;
  int64_t batch_stride;
  int64_t head_stride;
  int64_t token_stride;
  int64_t element;

  uintptr_t begin() const { return reinterpret_cast<uintptr_t>(data); }

  // The bytes from the first to behind the last, or -1 if they do not fit an address space.
  int64_t bytes() const {
    int64_t batch, head, token, sum;
    if (__builtin_mul_overflow(a.batch - 1, batch_stride, &batch) ||
        __builtin_mul_overflow(a.heads - 1, head_stride, &head) ||
        __builtin_mul_overflow(tokens - 1, token_stride, &token) ||
        __builtin_add_overflow(batch, head, &sum) || __builtin_add_overflow(sum, token, &sum) ||
        __builtin_add_overflow(sum, a.dim, &sum) || __builtin_mul_overflow(sum, element, &sum) ||
        begin() + static_cast<uintptr_t>(sum) < begin()) {
      return -1;
    }
    return sum;
  }

  glance_status check() const {
    if (data == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: %s is null", kOperation, name);
    if (begin() % static_cast<uintptr_t>(element) != 0) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: %s is not aligned to its element", kOperation,
                  name);
    }
    if (batch_stride < 0 || head_stride < 0 || token_stride < 0 || bytes() < 0) {
      return fail(GLANCE_INVALID_ARGUMENT,
                  "%s: %s: strides %" PRId64 ", %" PRId64 ", %" PRId64
                  " must be 0 or more and fit an address space",
                  kOperation, name, batch_stride, head_stride, token_stride);
    }
    return GLANCE_OK;
  }

  // Fails if two rows share an element.
  glance_status check_rows_apart() const {
    const bool tokens_inside = token_stride < head_stride;
    const int64_t inner = tokens_inside ? token_stride : head_stride;
    const int64_t inner_count = tokens_inside ? tokens : a.heads;
    const int64_t outer = tokens_inside ? head_stride : token_stride;
    const int64_t outer_count = tokens_inside ? a.heads : tokens;
    const int64_t inner_span = (inner_count - 1) * inner + a.dim;
    const int64_t span = (outer_count - 1) * outer + inner_span;
    if ((inner_count > 1 && inner < a.dim) || (outer_count > 1 && outer < inner_span) ||
        (a.batch > 1 && batch_stride < span)) {
      return fail(GLANCE_INVALID_ARGUMENT,
                  "%s: %s: with strides %" PRId64 " (batch), %" PRId64 " (head), %" PRId64
                  " (token) rows of %" PRId64 " would overlap",
                  kOperation, name, batch_stride, head_stride, token_stride, a.dim);
    }
    return GLANCE_OK;
  }
};

glance_status check_tensors(const glance_attention_args &a) noexcept {
  const int64_t element = dtype_bytes(a.dtype);
  const Heads inputs[] = {
      {"q", a.q, a, a.queries, a.q_batch_stride, a.q_head_stride, a.q_token_stride, element},
      {"k", a.k, a, a.keys, a.kv_batch_stride, a.kv_head_stride, a.kv_token_stride, element},
      {"v", a.v, a, a.keys, a.kv_batch_stride, a.kv_head_stride, a.kv_token_stride, element}};
  const Heads out = {"out",
                     a.out,
                     a,
                     a.queries,
                     a.out_batch_stride,
                     a.out_head_stride,
                     a.out_token_stride,
                     dtype_bytes(a.out_dtype)};
  glance_status status = out.check();
  if (status == GLANCE_OK) status = out.check_rows_apart();
  for (const Heads &input : inputs) {
    if (status == GLANCE_OK) status = input.check();
    if (status != GLANCE_OK) return status;
    if (out.begin() < input.begin() + static_cast<uintptr_t>(input.bytes()) &&
        input.begin() < out.begin() + static_cast<uintptr_t>(out.bytes())) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: out overlaps %s", kOperation, input.name);
    }
  }
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_attention(const glance_attention_args *args, void *stream) {
  using namespace glance;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: args is null", kOperation);
  const glance_attention_args &a = *args;
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size", "sizeof(glance_attention_args) of this ABI version",
                  a.struct_size);
  }
  glance_status status = check_numbers(a);
  if (status == GLANCE_OK) status = check_tensors(a);
  if (status == GLANCE_OK) status = check_on_cpu(kOperation, a.device, stream);
  return status == GLANCE_OK ? attention_cpu(a) : status;
}
