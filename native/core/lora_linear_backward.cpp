// glance_lora_linear_backward: rejects bad arguments, then hands over to the device's code.
#include "cpu/lora_linear_backward.h"

#include <cstdint>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/packed_matrix.h"
#include "core/status.h"
#include "cuda/lora_linear_backward.h"

namespace glance {
namespace {

constexpr const char *kOperation = "lora_linear_backward";

glance_status check_header(const glance_lora_linear_backward_args *args) noexcept {
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: args is null", kOperation);
  if (args->struct_size == static_cast<int64_t>(sizeof *args)) return GLANCE_OK;
  return reject(kOperation, "struct_size",
                "sizeof(glance_lora_linear_backward_args) of this ABI version", args->struct_size);
}

glance_status check_numbers(const glance_lora_linear_backward_args &a) noexcept {
  if (a.rows < 1) return reject(kOperation, "rows", "1 or more", a.rows);
  if (a.in_features < 1) return reject(kOperation, "in_features", "1 or more", a.in_features);
  if (a.out_features < 1) return reject(kOperation, "out_features", "1 or more", a.out_features);
  if (a.rank < 1 || a.rank > GLANCE_MAX_RANK) return reject(kOperation, "rank", "1 to 256", a.rank);
  glance_status status = check_finite(kOperation, "scale", a.scale);
  if (status == GLANCE_OK) status = check_dtype(kOperation, "dtype", a.dtype, a.device);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  return status;
}

// Every tensor of the call; those that are null and may be are left out.
struct Tensors {
  static constexpr int kInputs = 4;
  Matrix all[7];
  int count = 0;

  explicit Tensors(const glance_lora_linear_backward_args &a) {
    const int64_t element = dtype_bytes(a.dtype);
    add({kOperation, "x", a.x, a.rows, a.in_features, a.x_stride, element});
    add({kOperation, "dy", a.dy, a.rows, a.out_features, a.dy_stride, element});
    add({kOperation, "down", a.down, a.rank, a.in_features, a.down_stride, element});
    add({kOperation, "up", a.up, a.out_features, a.rank, a.up_stride, element});
    if (a.dx) add({kOperation, "dx", a.dx, a.rows, a.in_features, a.dx_stride, element});
    if (a.d_down) {
      add({kOperation, "d_down", a.d_down, a.rank, a.in_features, a.d_down_stride, 4});
    }
    if (a.d_up) add({kOperation, "d_up", a.d_up, a.out_features, a.rank, a.d_up_stride, 4});
  }
  void add(const Matrix &matrix) { all[count++] = matrix; }
};

glance_status check_tensors(const Tensors &t) noexcept {
  glance_status status = GLANCE_OK;
  for (int i = 0; status == GLANCE_OK && i < t.count; ++i) {
    status = check(t.all[i]);
    for (int j = 0; status == GLANCE_OK && i >= Tensors::kInputs && j < i; ++j) {
      status = check_apart(t.all[i], t.all[j]);
    }
  }
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_lora_linear_backward(const glance_lora_linear_backward_args *args,
                                                     void *stream) {
  using namespace glance;
  glance_status status = check_header(args);
  if (status != GLANCE_OK) return status;
  const glance_lora_linear_backward_args &a = *args;
  status = check_numbers(a);
  if (status == GLANCE_OK) status = check_tensors(Tensors(a));
  if (status == GLANCE_OK && a.dx != nullptr) {
    status = check_packed(kOperation, "weight_transposed", a.weight_transposed, a.in_features,
                          a.out_features, a.dtype, a.device, a.device_index);
  }
  if (status != GLANCE_OK) return status;
  if (a.device == GLANCE_CUDA) return lora_linear_backward_cuda(a, stream);
  status = check_no_stream(kOperation, stream);
  return status == GLANCE_OK ? lora_linear_backward_cpu(a) : status;
}

extern "C" glance_status glance_lora_linear_backward_workspace(
    const glance_lora_linear_backward_args *args, int64_t *bytes) {
  using namespace glance;
  glance_status status = check_header(args);
  if (status != GLANCE_OK) return status;
  if (bytes == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: bytes is null", kOperation);
  *bytes = 0;
  status = check_numbers(*args);
  if (status != GLANCE_OK || args->device == GLANCE_CPU) return status;
  return lora_linear_backward_workspace_cuda(*args, bytes);
}
