// glance_conv2d: rejects bad arguments, then hands over to the CPU's code.
#include "cpu/conv2d.h"

#include <glance/conv2d.h>

#include <cinttypes>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/packed_matrix.h"
#include "core/status.h"

namespace glance {
namespace {

constexpr const char *kOperation = "conv2d";

struct Number {
  const char *name;
  int64_t value;
};

glance_status check_sizes(const glance_conv2d_args &a) noexcept {
  const Number sizes[] = {{"samples", a.samples},
                          {"height", a.height},
                          {"width", a.width},
                          {"in_channels", a.in_channels},
                          {"out_channels", a.out_channels}};
  for (const Number &size : sizes) {
    if (size.value < 1 || size.value > INT32_MAX) {
      return reject(kOperation, size.name, "1 to 2147483647", size.value);
    }
  }
  return GLANCE_OK;
}

glance_status check_norm(const glance_conv2d_args &a) noexcept {
  switch (a.norm) {
    case GLANCE_CONV2D_NORM_NONE:
    case GLANCE_CONV2D_NORM_PIXEL:
      if (a.groups != 0) return reject(kOperation, "groups", "0 without GROUP", a.groups);
      break;
    case GLANCE_CONV2D_NORM_GROUP:
      if (a.groups < 1 || a.in_channels % a.groups != 0) {
        return reject(kOperation, "groups", "a divisor of in_channels", a.groups);
      }
      break;
    default:
      return reject(kOperation, "norm", "a glance_conv2d_norm", a.norm);
  }
  return check_epsilon(kOperation, a.epsilon);
}

glance_status check_numbers(const glance_conv2d_args &a) noexcept {
  if (a.kernel != 1 && a.kernel != 3) return reject(kOperation, "kernel", "1 or 3", a.kernel);
  if (a.upscale != 0 && a.kernel != 3) {
    return reject(kOperation, "kernel", "3 with upscale", a.kernel);
  }
  if (a.form != GLANCE_CONV2D_FORM_DIRECT && a.form != GLANCE_CONV2D_FORM_WINOGRAD) {
    return reject(kOperation, "form", "a glance_conv2d_form", a.form);
  }
  if (a.form == GLANCE_CONV2D_FORM_WINOGRAD && a.kernel != 3) {
    return reject(kOperation, "form", "DIRECT for kernel 1", a.form);
  }
  if (a.form == GLANCE_CONV2D_FORM_DIRECT && a.upscale != 0) {
    return reject(kOperation, "form", "WINOGRAD with upscale", a.form);
  }
  if (a.dtype != GLANCE_F32) return reject(kOperation, "dtype", "GLANCE_F32", a.dtype);
  glance_status status = check_sizes(a);
  if (status == GLANCE_OK) status = check_norm(a);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  return status;
}

glance_status check_weights(const glance_conv2d_args &a) noexcept {
  const bool winograd = a.form == GLANCE_CONV2D_FORM_WINOGRAD;
  const int64_t taps = !winograd ? a.kernel * a.kernel : a.upscale != 0 ? 9 : 16;
  return check_packed(kOperation, "weights", a.weights, a.out_channels, taps * a.in_channels,
                      a.dtype, a.device, a.device_index);
}

// The pixels of a picture, or -1 if their number does not fit.
int64_t pixels(const glance_conv2d_args &a, int64_t scale) noexcept {
  int64_t count;
  if (__builtin_mul_overflow(a.samples, a.height * scale, &count) ||
      __builtin_mul_overflow(count, a.width * scale, &count)) {
    return -1;
  }
  return count;
}

glance_status check_memory(const glance_conv2d_args &a) noexcept {
  const int64_t in = pixels(a, 1);
  const int64_t out = pixels(a, a.upscale != 0 ? 2 : 1);
  if (in < 0 || out < 0) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: height and width do not fit an address space",
                kOperation);
  }
  const auto matrix = [&](const char *name, const void *data, int64_t rows, int64_t columns) {
    return Matrix{kOperation, name, data, rows, columns, columns, dtype_bytes(a.dtype)};
  };
  const Matrix y = matrix("y", a.y, out, a.out_channels);
  const Matrix residual = matrix("residual", a.residual, out, a.out_channels);
  const Matrix inputs[] = {matrix("x", a.x, in, a.in_channels),
                           matrix("bias", a.bias, 1, a.out_channels),
                           matrix("norm_weight", a.norm_weight, 1, a.in_channels),
                           matrix("norm_bias", a.norm_bias, 1, a.in_channels)};
  glance_status status = check(y);
  if (status == GLANCE_OK && a.residual != nullptr) {
    status = check(residual);
    if (status == GLANCE_OK) status = check_same_or_apart(y, residual);
  }
  for (const Matrix &input : inputs) {
    // Only x must be there.
    if (input.data == nullptr && &input != &inputs[0]) continue;
    if (status == GLANCE_OK) status = check(input);
    if (status == GLANCE_OK) status = check_apart(y, input);
  }
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_conv2d(const glance_conv2d_args *args, void *stream) {
  using namespace glance;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: args is null", kOperation);
  const glance_conv2d_args &a = *args;
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size", "sizeof(glance_conv2d_args) of this ABI version",
                  a.struct_size);
  }
  glance_status status = check_numbers(a);
  if (status == GLANCE_OK) status = check_weights(a);
  if (status == GLANCE_OK) status = check_memory(a);
  if (status == GLANCE_OK) status = check_on_cpu(kOperation, a.device, stream);
  return status == GLANCE_OK ? conv2d_cpu(a) : status;
}
