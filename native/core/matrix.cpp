#include "core/matrix.h"

#include <cinttypes>

#include "core/status.h"

namespace glance {

int64_t dtype_bytes(glance_dtype dtype) noexcept {
  switch (dtype) {
    case GLANCE_F32:
      return 4;
    case GLANCE_BF16:
    case GLANCE_F16:
      return 2;
    default:
      return 0;
  }
}

uintptr_t Matrix::begin() const noexcept { return reinterpret_cast<uintptr_t>(data); }

uintptr_t Matrix::end() const noexcept {
  return begin() + static_cast<uintptr_t>(((rows - 1) * stride + columns) * element_bytes);
}

glance_status check(const Matrix &m) noexcept {
  if (m.data == nullptr) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s is null", m.operation, m.name);
  }
  if (m.begin() % static_cast<uintptr_t>(m.element_bytes) != 0) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: %s is not aligned to its element of %" PRId64 " bytes", m.operation, m.name,
                m.element_bytes);
  }
  if (m.stride < m.columns) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: %s_stride is %" PRId64 ", but a row has %" PRId64 " columns", m.operation,
                m.name, m.stride, m.columns);
  }
  int64_t bytes;
  if (__builtin_mul_overflow(m.rows, m.stride, &bytes) ||
      __builtin_mul_overflow(bytes, m.element_bytes, &bytes) ||
      m.begin() + static_cast<uintptr_t>(bytes) < m.begin()) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: %s: %" PRId64 " rows of stride %" PRId64 " do not fit an address space",
                m.operation, m.name, m.rows, m.stride);
  }
  return GLANCE_OK;
}

glance_status check_apart(const Matrix &output, const Matrix &other) noexcept {
  if (output.begin() < other.end() && other.begin() < output.end()) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s overlaps %s", output.operation, output.name,
                other.name);
  }
  return GLANCE_OK;
}

glance_status check_same_or_apart(const Matrix &output, const Matrix &other) noexcept {
  if (output.data == other.data && output.stride == other.stride) return GLANCE_OK;
  return check_apart(output, other);
}

}  // namespace glance
