// Descriptions of matrices for TMA, made on the host.
#pragma once

#include <cuda.h>
#include <glance/core.h>

#include <cstdint>

namespace glance {

// Describes a matrix of 16-bit elements, dtype BF16 or F16, that is read in boxes of box_rows rows
// (at most 256) and 64 columns, laid into shared memory as cuda/wgmma.h wants operands; what a box
// has beyond the matrix is zero. data is aligned to 16 bytes and stride is a multiple of 8
// elements. False if the driver is too old to, or refuses.
bool describe_matrix(CUtensorMap *map, glance_dtype dtype, const void *data, int64_t rows,
                     int64_t columns, int64_t stride, int32_t box_rows) noexcept;

// The status and message for that case.
glance_status tensor_map_failure(const char *operation) noexcept;

}  // namespace glance
