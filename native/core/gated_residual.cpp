// glance_gated_residual: rejects bad arguments, then hands over to the device's code.
#include "cpu/gated_residual.h"

#include <glance/gated_residual.h>

#include <cstdint>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/status.h"
#include "cuda/gated_residual.h"

namespace glance {
namespace {

constexpr const char *kOperation = "gated_residual";

glance_status check_numbers(const glance_gated_residual_args &a) noexcept {
  if (a.rows < 0) return reject(kOperation, "rows", "0 or more", a.rows);
  if (a.columns < 0) return reject(kOperation, "columns", "0 or more", a.columns);
  if (a.rows_per_gate < 1) return reject(kOperation, "rows_per_gate", "1 or more", a.rows_per_gate);
  const glance_status status = check_dtype(kOperation, "dtype", a.dtype, a.device);
  if (status != GLANCE_OK) return status;
  return check_device(kOperation, a.device, a.device_index, a.reserved);
}

glance_status check_memory(const glance_gated_residual_args &a) noexcept {
  const auto matrix = [&](const char *name, const void *data, int64_t rows, int64_t stride) {
    return Matrix{kOperation, name, data, rows, a.columns, stride, dtype_bytes(a.dtype)};
  };
  const int64_t gates = (a.rows - 1) / a.rows_per_gate + 1;
  const Matrix residual = matrix("residual", a.residual, a.rows, a.residual_stride);
  const Matrix update = matrix("update", a.update, a.rows, a.update_stride);
  const Matrix gate = matrix("gate", a.gate, gates, a.gate_stride);
  const Matrix y = matrix("y", a.y, a.rows, a.y_stride);
  glance_status status = check(residual);
  if (status == GLANCE_OK) status = check(update);
  if (status == GLANCE_OK) status = check(gate);
  if (status == GLANCE_OK) status = check(y);
  if (status == GLANCE_OK) status = check_same_or_apart(y, residual);
  if (status == GLANCE_OK) status = check_same_or_apart(y, update);
  if (status == GLANCE_OK) status = check_apart(y, gate);
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_gated_residual(const glance_gated_residual_args *args,
                                               void *stream) {
  using namespace glance;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "gated_residual: args is null");
  const glance_gated_residual_args &a = *args;
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size",
                  "sizeof(glance_gated_residual_args) of this ABI version", a.struct_size);
  }
  const glance_status numbers = check_numbers(a);
  if (numbers != GLANCE_OK) return numbers;
  if (a.rows == 0 || a.columns == 0) return GLANCE_OK;
  const glance_status memory = check_memory(a);
  if (memory != GLANCE_OK) return memory;
  if (a.device == GLANCE_CUDA) return gated_residual_cuda(a, stream);
  const glance_status no_stream = check_no_stream(kOperation, stream);
  if (no_stream == GLANCE_OK) gated_residual_cpu(a);
  return no_stream;
}
