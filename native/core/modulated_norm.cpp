// glance_modulated_norm: rejects bad arguments, then hands over to the device's code.
#include "cpu/modulated_norm.h"

#include <glance/modulated_norm.h>

#include <cstdint>

#include "core/adapters.h"
#include "core/checks.h"
#include "core/matrix.h"
#include "core/status.h"
#include "cuda/modulated_norm.h"

namespace glance {
namespace {

constexpr const char *kOperation = "modulated_norm";

glance_status check_numbers(const glance_modulated_norm_args &a) noexcept {
  if (a.rows < 0) return reject(kOperation, "rows", "0 or more", a.rows);
  if (a.columns < 0) return reject(kOperation, "columns", "0 or more", a.columns);
  const bool grouped = a.scale != nullptr || a.shift != nullptr;
  if (grouped && a.rows_per_group < 1) {
    return reject(kOperation, "rows_per_group", "1 or more", a.rows_per_group);
  }
  if (a.norm != GLANCE_NORM_LAYER && a.norm != GLANCE_NORM_RMS) {
    return reject(kOperation, "norm", "a GLANCE_NORM_ value", a.norm);
  }
  glance_status status = check_epsilon(kOperation, a.epsilon);
  if (status == GLANCE_OK) status = check_dtype(kOperation, "dtype", a.dtype, a.device);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  return status;
}

// Once y is known to be good: h too, and apart from all that is read or written.
glance_status check_h(const glance_modulated_norm_args &a, const Matrix &x, const Matrix &y,
                      const Matrix &scale, const Matrix &shift) noexcept {
  glance_status status =
      check_adapters(kOperation, a.adapters, a.rows, a.columns, a.dtype, a.device, a.device_index);
  if (status != GLANCE_OK) return status;
  const int64_t columns = h_columns(a.adapters);
  if (columns == 0) return GLANCE_OK;
  const Matrix h = {kOperation, "h", a.h, a.rows, columns, a.h_stride, dtype_bytes(a.dtype)};
  status = check(h);
  if (status == GLANCE_OK) status = check_apart(h, x);
  if (status == GLANCE_OK) status = check_apart(h, y);
  if (status == GLANCE_OK && a.scale != nullptr) status = check_apart(h, scale);
  if (status == GLANCE_OK && a.shift != nullptr) status = check_apart(h, shift);
  return status;
}

glance_status check_memory(const glance_modulated_norm_args &a) noexcept {
  const auto matrix = [&](const char *name, const void *data, int64_t rows, int64_t stride) {
    return Matrix{kOperation, name, data, rows, a.columns, stride, dtype_bytes(a.dtype)};
  };
  const bool grouped = a.scale != nullptr || a.shift != nullptr;
  const int64_t groups = grouped ? (a.rows - 1) / a.rows_per_group + 1 : 0;
  const Matrix x = matrix("x", a.x, a.rows, a.x_stride);
  const Matrix y = matrix("y", a.y, a.rows, a.y_stride);
  const Matrix scale = matrix("scale", a.scale, groups, a.scale_stride);
  const Matrix shift = matrix("shift", a.shift, groups, a.shift_stride);
  glance_status status = check(x);
  if (status == GLANCE_OK) status = check(y);
  if (status == GLANCE_OK) status = check_same_or_apart(y, x);
  const Matrix optional[] = {scale, shift};
  for (const Matrix &row : optional) {
    if (row.data == nullptr) continue;
    if (status == GLANCE_OK) status = check(row);
    if (status == GLANCE_OK) status = check_apart(y, row);
  }
  if (status == GLANCE_OK && a.h != nullptr) status = check_h(a, x, y, scale, shift);
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_modulated_norm(const glance_modulated_norm_args *args,
                                               void *stream) {
  using namespace glance;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "modulated_norm: args is null");
  const glance_modulated_norm_args &a = *args;
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size",
                  "sizeof(glance_modulated_norm_args) of this ABI version", a.struct_size);
  }
  const glance_status numbers = check_numbers(a);
  if (numbers != GLANCE_OK) return numbers;
  if (a.rows == 0 || a.columns == 0) return GLANCE_OK;
  const glance_status memory = check_memory(a);
  if (memory != GLANCE_OK) return memory;
  if (a.device == GLANCE_CUDA) return modulated_norm_cuda(a, stream);
  const glance_status no_stream = check_no_stream(kOperation, stream);
  if (no_stream == GLANCE_OK) modulated_norm_cpu(a);
  return no_stream;
}
