// Products over rows on CUDA: p^T q, p a projection, as lora_linear_backward sums them.
#pragma once

#include <cuda_runtime_api.h>
#include <glance/core.h>

#include <cstdint>

namespace glance {

struct RowProducts {
  // rows x rank, rows aligned to 16 bytes.
  const void *p;
  int64_t p_stride;
  // rows x columns.
  const void *q;
  int64_t q_stride;
  // rank x columns, at any strides; added to if accumulate.
  float *out;
  int64_t rank_stride;
  int64_t column_stride;
  // partial_bytes(rows, rank, columns) of device memory.
  float *partial;
  int64_t rows;
  int32_t rank;
  int32_t columns;
  bool accumulate;
};

int64_t partial_bytes(int64_t rows, int64_t rank, int64_t columns) noexcept;

// p and q are of this type.
glance_status row_products_cuda(const RowProducts &products, glance_dtype dtype,
                                cudaStream_t stream) noexcept;

}  // namespace glance
