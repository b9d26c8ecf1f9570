// What is behind a glance_matrix handle.
#pragma once

#include <glance/matrix.h>

#include <cstdint>

/*
 * On CUDA the matrix as the caller described it. On the CPU: panels of panel_columns rows of W each, the last one filled up with zeros. Within a
 * panel the reduction dimension is outside: unit u holds panel_columns words of 32 bits, word j
 * being W[j][u] in f32, and the pair W[j][2u], W[j][2u + 1] in bf16 (an odd K is filled up with a
 * zero). A panel's unit is thus what one step of the inner loop multiplies by one word of x's row.
 */
struct glance_matrix {
  int64_t rows;
  int64_t columns;
  glance_dtype dtype;
  glance_device device;
  int32_t device_index;
  int32_t panel_columns;
  // Words of one row of x, and of one panel's column.
  int64_t units;
  // CPU: the panels, owned. CUDA: null.
  uint32_t *panels;
  int64_t bytes;
  // CUDA: the caller's memory, and its strides in elements.
  const void *data;
  int64_t row_stride;
  int64_t column_stride;

  const uint32_t *panel(int64_t index) const { return panels + index * panel_columns * units; }
  int64_t panel_count() const { return (rows + panel_columns - 1) / panel_columns; }
};

namespace glance {

// GLANCE_OK if the matrix named name is there and has this size (-1: any), type and device.
glance_status check_packed(const char *operation, const char *name, const glance_matrix *matrix,
                           int64_t rows, int64_t columns, glance_dtype dtype, glance_device device,
                           int32_t device_index) noexcept;

}  // namespace glance
