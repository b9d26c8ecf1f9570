// Stands in for cublaslt.cpp in a build whose CUDA toolkit has no cublasLt.h.
#include "core/status.h"
#include "cuda/cublaslt.h"

namespace glance {

glance_status lora_linear_cublaslt(const LoraParams &, glance_dtype, void *, int64_t,
                                   cudaStream_t) noexcept {
  return fail(GLANCE_UNSUPPORTED,
              "lora_linear: matmul is GLANCE_MATMUL_CUBLASLT, but this library was built without "
              "cublasLt.h");
}

int64_t cublaslt_workspace_bytes(const LoraParams &, glance_dtype) noexcept { return 0; }

}  // namespace glance
