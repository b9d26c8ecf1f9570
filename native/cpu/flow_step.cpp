// Picks flow_step's loops for this machine and shares the rows out.
#include "cpu/flow_step.h"

#include "core/matrix.h"
#include "cpu/isa.h"
#include "cpu/rows.h"

namespace glance {
namespace {

constexpr double kOperationsPerElement = 20;  // memory counted as arithmetic

void *moved(void *data, int64_t elements, glance_dtype dtype) {
  return data == nullptr ? nullptr : static_cast<char *>(data) + elements * dtype_bytes(dtype);
}

const void *moved(const void *data, int64_t elements, glance_dtype dtype) {
  return moved(const_cast<void *>(data), elements, dtype);
}

// The same call for rows begin to end - 1 only.
glance_flow_step_args rows_of(const glance_flow_step_args &all, int64_t begin, int64_t end) {
  glance_flow_step_args part = all;
  part.latents = moved(all.latents, begin * all.latents_stride, all.latents_dtype);
  part.v_pos = moved(all.v_pos, begin * all.v_pos_stride, all.velocity_dtype);
  part.v_neg = moved(all.v_neg, begin * all.v_neg_stride, all.velocity_dtype);
  part.latents_bf16 = moved(all.latents_bf16, begin * all.latents_bf16_stride, GLANCE_BF16);
  part.rows = end - begin;
  return part;
}

}  // namespace

void flow_step_cpu(const glance_flow_step_args &args) noexcept {
  const auto rows = GLANCE_PICK_ISA(flow_step_rows);
  for_rows(args.rows, kOperationsPerElement * static_cast<double>(args.columns),
           [&](int64_t begin, int64_t end) { rows(rows_of(args, begin, end)); });
}

}  // namespace glance
