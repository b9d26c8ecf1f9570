// glance_lora_linear: rejects bad arguments, then hands over to the device's code.
#include "cpu/lora_linear.h"

#include <glance/lora_linear.h>

#include <cinttypes>
#include <cstdio>

#include "core/adapters.h"
#include "core/checks.h"
#include "core/matrix.h"
#include "core/packed_matrix.h"
#include "core/status.h"
#include "cuda/lora_linear.h"

namespace glance {
namespace {

constexpr const char *kOperation = "lora_linear";

glance_status check_numbers(const glance_lora_linear_args &a) noexcept {
  if (a.rows < 0) return reject(kOperation, "rows", "0 or more", a.rows);
  if (a.linear_count < 1 || a.linear_count > GLANCE_MAX_LINEARS) {
    return reject(kOperation, "linear_count", "1 to 8", a.linear_count);
  }
  glance_status status = check_dtype(kOperation, "dtype", a.dtype, a.device);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, 0);
  if (status != GLANCE_OK) return status;
  if (a.matmul < GLANCE_MATMUL_AUTO || a.matmul > GLANCE_MATMUL_CUBLASLT) {
    return reject(kOperation, "matmul", "a GLANCE_MATMUL_ value", a.matmul);
  }
  const bool chosen = a.tile_columns == 128 || a.tile_columns == 192 || a.tile_columns == 256;
  if (a.tile_columns != 0 && !(chosen && a.matmul == GLANCE_MATMUL_WGMMA)) {
    return reject(kOperation, "tile_columns", "0, or with GLANCE_MATMUL_WGMMA 128, 192 or 256",
                  a.tile_columns);
  }
  if (a.linears == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: linears is null", kOperation);
  return GLANCE_OK;
}

glance_status check_header(const glance_lora_linear_args *args) noexcept {
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: args is null", kOperation);
  if (args->struct_size != static_cast<int64_t>(sizeof *args)) {
    return reject(kOperation, "struct_size", "sizeof(glance_lora_linear_args) of this ABI version",
                  args->struct_size);
  }
  const glance_status status = check_numbers(*args);
  if (status != GLANCE_OK || args->linears[0].weight != nullptr) return status;
  return fail(GLANCE_INVALID_ARGUMENT, "%s: linears[0].weight is null", kOperation);
}

// The name of a member of linears[index], for messages.
struct Name {
  char text[48];
  Name(int index, const char *member) {
    std::snprintf(text, sizeof text, "linears[%d].%s", index, member);
  }
};

glance_status check_up(const glance_lora_linear_args &a, int adapter, int linear) noexcept {
  const glance_up &up = a.ups[adapter * a.linear_count + linear];
  if (up.up == nullptr) return GLANCE_OK;
  char name[64];
  std::snprintf(name, sizeof name, "ups[%d].up (adapter %d, linear %d)",
                adapter * a.linear_count + linear, adapter, linear);
  const glance_status status = check_packed(kOperation, name, up.up, a.linears[linear].weight->rows,
                                            -1, a.dtype, a.device, a.device_index);
  if (status != GLANCE_OK) return status;
  const int64_t rank = up.up->columns;
  const int64_t available = a.adapters.adapters[adapter].down->rows;
  if (rank > GLANCE_MAX_RANK) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s has rank %" PRId64 ", at most %d is supported",
                kOperation, name, rank, GLANCE_MAX_RANK);
  }
  if (up.first < 0 || up.first > available - rank) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: %s: %" PRId64 " columns from first = %" PRId64
                " are not in the down-projection's %" PRId64,
                kOperation, name, rank, up.first, available);
  }
  return GLANCE_OK;
}

// Apart, or ranges of columns of one matrix.
glance_status check_outputs_apart(const Matrix &y, const Matrix &other) noexcept {
  if (y.stride == other.stride && y.rows > 1) {
    const bool first = y.begin() <= other.begin();
    const Matrix &low = first ? y : other;
    const Matrix &high = first ? other : y;
    const auto distance = static_cast<int64_t>(high.begin() - low.begin()) / y.element_bytes;
    if (distance >= low.columns && distance + high.columns <= y.stride) return GLANCE_OK;
  }
  return check_apart(y, other);
}

struct Checker {
  const glance_lora_linear_args &a;
  const int64_t element = dtype_bytes(a.dtype);
  const int64_t columns = a.linears[0].weight->columns;
  const Matrix x = {kOperation, "x", a.x, a.rows, columns, a.x_stride, element};

  glance_status gated(int i, const Matrix &y) const noexcept {
    const glance_linear &l = a.linears[i];
    const bool used = l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL;
    if (used != (l.gate != nullptr) || used != (l.residual != nullptr)) {
      return fail(GLANCE_INVALID_ARGUMENT,
                  "%s: linears[%d].gate and residual must be null without "
                  "GLANCE_EPILOGUE_GATED_RESIDUAL and only then",
                  kOperation, i);
    }
    if (!used) return GLANCE_OK;
    if (l.rows_per_gate < 1) {
      return reject(kOperation, Name(i, "rows_per_gate").text, "1 or more", l.rows_per_gate);
    }
    const Name gate_name(i, "gate");
    const Name residual_name(i, "residual");
    const int64_t gates = (a.rows - 1) / l.rows_per_gate + 1;
    const Matrix gate = {kOperation, gate_name.text, l.gate, gates,
                         y.columns,  l.gate_stride,  element};
    const Matrix residual = {kOperation, residual_name.text, l.residual, a.rows,
                             y.columns,  l.residual_stride,  element};
    glance_status status = check(gate);
    if (status == GLANCE_OK) status = check_apart(y, gate);
    if (status == GLANCE_OK) status = check(residual);
    const bool in_place = l.residual == l.y && l.residual_stride == l.y_stride;
    if (status == GLANCE_OK && !in_place) status = check_apart(y, residual);
    return status;
  }

  glance_status weight(int i) const noexcept {
    return check_packed(kOperation, Name(i, "weight").text, a.linears[i].weight, -1, columns,
                        a.dtype, a.device, a.device_index);
  }

  glance_status linear(int i) const noexcept {
    const glance_linear &l = a.linears[i];
    glance_status status = weight(i);
    if (status != GLANCE_OK) return status;
    if (l.epilogue < GLANCE_EPILOGUE_NONE || l.epilogue > GLANCE_EPILOGUE_GATED_RESIDUAL) {
      return reject(kOperation, Name(i, "epilogue").text, "a GLANCE_EPILOGUE_ value", l.epilogue);
    }
    if (l.reserved != 0) return reject(kOperation, Name(i, "reserved").text, "0", l.reserved);
    if (a.rows == 0) return GLANCE_OK;
    const Name y_name(i, "y");
    const Matrix y = output(i, y_name);
    status = check(y);
    if (status == GLANCE_OK) status = check_apart(y, x);
    if (status == GLANCE_OK && l.bias != nullptr) {
      const Name bias_name(i, "bias");
      const Matrix bias = {kOperation, bias_name.text, l.bias, 1, y.columns, y.columns, element};
      status = check(bias);
      if (status == GLANCE_OK) status = check_apart(y, bias);
    }
    if (status == GLANCE_OK) status = gated(i, y);
    for (int j = 0; status == GLANCE_OK && j < i; ++j) {
      const Name other(j, "y");
      status = check_outputs_apart(y, output(j, other));
    }
    return status;
  }

  Matrix output(int i, const Name &name) const noexcept {
    const glance_linear &l = a.linears[i];
    return {kOperation, name.text, l.y, a.rows, l.weight->rows, l.y_stride, element};
  }

  glance_status adapters() const noexcept {
    glance_status status =
        check_adapters(kOperation, a.adapters, a.rows, columns, a.dtype, a.device, a.device_index);
    if (status != GLANCE_OK || a.adapters.adapter_count == 0) return status;
    if (a.ups == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: ups is null", kOperation);
    for (int k = 0; status == GLANCE_OK && k < a.adapters.adapter_count; ++k) {
      for (int i = 0; status == GLANCE_OK && i < a.linear_count; ++i) status = check_up(a, k, i);
    }
    return status;
  }

  glance_status given_h() const noexcept {
    if (a.h == nullptr || a.rows == 0 || a.adapters.adapter_count == 0) return GLANCE_OK;
    const Matrix h = {kOperation, "h", a.h, a.rows, h_columns(a.adapters), a.h_stride, element};
    glance_status status = check(h);
    for (int i = 0; status == GLANCE_OK && i < a.linear_count; ++i) {
      const Name y_name(i, "y");
      status = check_apart(output(i, y_name), h);
    }
    return status;
  }

  // The other linears' inputs must not be overwritten either.
  glance_status inputs_apart(int i) const noexcept {
    const Name y_name(i, "y");
    const Matrix y = output(i, y_name);
    glance_status status = GLANCE_OK;
    for (int j = 0; status == GLANCE_OK && j < a.linear_count; ++j) {
      if (j != i) status = apart_from(y, j);
    }
    return status;
  }

  // y is apart from the bias, gate and residual of linear j, which have passed their checks.
  glance_status apart_from(const Matrix &y, int j) const noexcept {
    const glance_linear &l = a.linears[j];
    const int64_t n = l.weight->rows;
    if (l.bias != nullptr) {
      const Name name(j, "bias");
      const glance_status status =
          check_apart(y, {kOperation, name.text, l.bias, 1, n, n, element});
      if (status != GLANCE_OK) return status;
    }
    if (l.residual == nullptr) return GLANCE_OK;
    const Name gate(j, "gate");
    const int64_t gates = (a.rows - 1) / l.rows_per_gate + 1;
    const glance_status status =
        check_apart(y, {kOperation, gate.text, l.gate, gates, n, l.gate_stride, element});
    if (status != GLANCE_OK) return status;
    const Name residual(j, "residual");
    return check_outputs_apart(
        y, {kOperation, residual.text, l.residual, a.rows, n, l.residual_stride, element});
  }

  // What a query for the workspace needs.
  glance_status sizes() const noexcept {
    glance_status status = GLANCE_OK;
    for (int i = 0; status == GLANCE_OK && i < a.linear_count; ++i) status = weight(i);
    return status == GLANCE_OK ? adapters() : status;
  }

  glance_status all() const noexcept {
    glance_status status = a.rows == 0 ? GLANCE_OK : check(x);
    for (int i = 0; status == GLANCE_OK && i < a.linear_count; ++i) status = linear(i);
    if (status == GLANCE_OK) status = adapters();
    if (status == GLANCE_OK) status = given_h();
    for (int i = 0; status == GLANCE_OK && a.rows > 0 && i < a.linear_count; ++i) {
      status = inputs_apart(i);
    }
    return status;
  }
};

}  // namespace
}  // namespace glance

extern "C" glance_status glance_lora_linear(const glance_lora_linear_args *args, void *stream) {
  using namespace glance;
  glance_status status = check_header(args);
  if (status == GLANCE_OK) status = Checker{*args}.all();
  if (status != GLANCE_OK) return status;
  if (args->device == GLANCE_CUDA) {
    return args->rows > 0 ? lora_linear_cuda(*args, stream) : GLANCE_OK;
  }
  status = check_no_stream(kOperation, stream);
  return status == GLANCE_OK && args->rows > 0 ? lora_linear_cpu(*args) : status;
}

extern "C" glance_status glance_lora_linear_workspace(const glance_lora_linear_args *args,
                                                      int64_t *bytes) {
  using namespace glance;
  if (bytes == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "%s: bytes is null", kOperation);
  *bytes = 0;
  glance_status status = check_header(args);
  if (status == GLANCE_OK) status = Checker{*args}.sizes();
  if (status != GLANCE_OK || args->device == GLANCE_CPU || args->rows == 0) return status;
  return lora_linear_workspace_cuda(*args, bytes);
}
