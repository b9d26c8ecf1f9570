// lora_linear on the CPU, and the down-projection alone. Arguments are checked.
#pragma once

#include <glance/lora_linear.h>

namespace glance {

// With at least one row.
glance_status lora_linear_cpu(const glance_lora_linear_args &args) noexcept;

// h = scale * (y A^T) for rows row_begin to row_end - 1, each with its segment's adapter. y and h
// point at row 0; strides in elements. Runs in the calling thread. False if there is no memory.
bool project_down(const glance_adapter_table &adapters, glance_dtype dtype, const void *y,
                  int64_t y_stride, void *h, int64_t h_stride, int64_t row_begin,
                  int64_t row_end) noexcept;

}  // namespace glance
