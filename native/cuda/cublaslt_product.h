// One matrix product by cuBLASLt.
#pragma once

#include <cstdint>

#include "cuda/cublaslt_library.h"

namespace glance {

// The workspace of a product: what NVIDIA recommends for compute capability 9.0; it recommends less
// for others.
constexpr int64_t kCublasLtWorkspaceBytes = int64_t{32} << 20;

// y = act(x w^T + bias): x is rows x k, w is n x k, y is rows x n.
struct CublasLtProduct {
  const void *x;
  const void *w;
  const void *bias;
  void *y;
  int64_t x_stride;
  int64_t w_stride;
  int64_t y_stride;
  int64_t rows;
  int64_t n;
  int64_t k;
  glance_dtype dtype;
  glance_dtype y_dtype;
  cublasLtEpilogue_t epilogue;
};

// On the current device, whose number is device and whose handle is given.
glance_status cublaslt_multiply(const CublasLt &library, cublasLtHandle_t handle, int device,
                                const CublasLtProduct &product, void *workspace,
                                cudaStream_t stream) noexcept;

}  // namespace glance
