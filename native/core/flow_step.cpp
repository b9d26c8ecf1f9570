// glance_flow_step: rejects bad arguments, then hands over to the device's code.
#include "cpu/flow_step.h"

#include <glance/flow_step.h>

#include <cstdint>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/status.h"
#include "cuda/flow_step.h"

namespace glance {
namespace {

constexpr const char *kOperation = "flow_step";

glance_status check_numbers(const glance_flow_step_args &a) noexcept {
  if (a.rows < 0) return reject(kOperation, "rows", "0 or more", a.rows);
  if (a.columns < 0) return reject(kOperation, "columns", "0 or more", a.columns);
  if (a.cfg_mode < GLANCE_CFG_NONE || a.cfg_mode > GLANCE_CFG_RESCALED) {
    return reject(kOperation, "cfg_mode", "a GLANCE_CFG_ value", a.cfg_mode);
  }
  if (a.rounding != GLANCE_ROUND_ONCE && a.rounding != GLANCE_ROUND_EACH) {
    return reject(kOperation, "rounding", "a GLANCE_ROUND_ value", a.rounding);
  }
  glance_status status = check_dtype(kOperation, "latents_dtype", a.latents_dtype, a.device);
  if (status == GLANCE_OK) {
    status = check_dtype(kOperation, "velocity_dtype", a.velocity_dtype, a.device);
  }
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  if (status == GLANCE_OK) status = check_finite(kOperation, "sigma", a.sigma);
  if (status == GLANCE_OK) status = check_finite(kOperation, "sigma_next", a.sigma_next);
  if (status == GLANCE_OK && a.cfg_mode != GLANCE_CFG_NONE) {
    status = check_finite(kOperation, "cfg_scale", a.cfg_scale);
  }
  if (status == GLANCE_OK && a.schedule != nullptr) {
    if (a.device == GLANCE_CPU) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: schedule must be null on CPU", kOperation);
    }
    if (reinterpret_cast<uintptr_t>(a.schedule) % alignof(float) != 0) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: schedule is not aligned to its element of 4 bytes",
                  kOperation);
    }
  }
  return status;
}

glance_status check_memory(const glance_flow_step_args &a) noexcept {
  const char *op = kOperation;
  const int64_t velocity_bytes = dtype_bytes(a.velocity_dtype);
  const Matrix latents = {
      op, "latents", a.latents, a.rows, a.columns, a.latents_stride, dtype_bytes(a.latents_dtype)};
  const Matrix v_pos = {op, "v_pos", a.v_pos, a.rows, a.columns, a.v_pos_stride, velocity_bytes};
  const Matrix v_neg = {op, "v_neg", a.v_neg, a.rows, a.columns, a.v_neg_stride, velocity_bytes};
  const Matrix copy = {op,        "latents_bf16",        a.latents_bf16,          a.rows,
                       a.columns, a.latents_bf16_stride, dtype_bytes(GLANCE_BF16)};
  glance_status status = check(latents);
  if (status == GLANCE_OK) status = check(v_pos);
  if (status == GLANCE_OK) status = check_apart(latents, v_pos);
  if (a.v_neg != nullptr) {
    if (status == GLANCE_OK) status = check(v_neg);
    if (status == GLANCE_OK) status = check_apart(latents, v_neg);
  }
  if (a.latents_bf16 != nullptr) {
    if (status == GLANCE_OK) status = check(copy);
    if (status == GLANCE_OK) status = check_apart(copy, latents);
    if (status == GLANCE_OK) status = check_apart(copy, v_pos);
    if (status == GLANCE_OK && a.v_neg != nullptr) status = check_apart(copy, v_neg);
  }
  return status;
}

}  // namespace
}  // namespace glance

extern "C" glance_status glance_flow_step(const glance_flow_step_args *args, void *stream) {
  using namespace glance;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "flow_step: args is null");
  const glance_flow_step_args &a = *args;
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size", "sizeof(glance_flow_step_args) of this ABI version",
                  a.struct_size);
  }
  const glance_status numbers = check_numbers(a);
  if (numbers != GLANCE_OK) return numbers;
  if (a.rows == 0 || a.columns == 0) return GLANCE_OK;
  if ((a.v_neg == nullptr) != (a.cfg_mode == GLANCE_CFG_NONE)) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "flow_step: v_neg must be null with GLANCE_CFG_NONE and only then");
  }
  const glance_status memory = check_memory(a);
  if (memory != GLANCE_OK) return memory;
  if (a.device == GLANCE_CUDA) return flow_step_cuda(a, stream);
  const glance_status no_stream = check_no_stream(kOperation, stream);
  if (no_stream == GLANCE_OK) flow_step_cpu(a);
  return no_stream;
}
