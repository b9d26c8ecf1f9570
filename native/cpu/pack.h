// Packing a matrix for the CPU: the layout is in core/packed_matrix.h.
#pragma once

#include "core/packed_matrix.h"

namespace glance {

// The width of a panel for the instruction set in use.
int32_t panel_columns() noexcept;

// Fills in the panels of matrix, whose rows, columns and dtype are set. args are checked.
glance_status pack_cpu(const glance_matrix_args &args, glance_matrix &matrix) noexcept;

}  // namespace glance
