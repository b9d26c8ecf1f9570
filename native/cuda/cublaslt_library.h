// The functions of cuBLASLt that are used, from a library found at run time.
#pragma once

#include <cublasLt.h>
#include <glance/core.h>

namespace glance {

struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
};

// The library, looked for once in a process. Null, with GLANCE_UNSUPPORTED in *status and a message
// that says what was tried, if it is not there.
const CublasLt *cublaslt_library(glance_status *status) noexcept;

// The handle for the current device, whose number is device: made at the first call and kept.
// stream may not be capturing then.
glance_status cublaslt_handle(const CublasLt &library, int device, cudaStream_t stream,
                              cublasLtHandle_t *handle) noexcept;

// GLANCE_OK, or an error with the library's number for it after what.
glance_status cublaslt_status(const char *what, cublasStatus_t status) noexcept;

}  // namespace glance
