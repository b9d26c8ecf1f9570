#include "cuda/cublaslt_library.h"

#include <dlfcn.h>

#include <cstdio>
#include <mutex>

#include "core/status.h"
#include "cuda/device.h"

namespace glance {
namespace {

#define GLANCE_TEXT_OF(number) #number
#define GLANCE_TEXT(number) GLANCE_TEXT_OF(number)
// The version the header is of, then what a toolkit for developers has.
constexpr const char *kNames[] = {"libcublasLt.so." GLANCE_TEXT(CUBLAS_VER_MAJOR),
                                  "libcublasLt.so"};
#undef GLANCE_TEXT
#undef GLANCE_TEXT_OF

struct Loaded {
  CublasLt library = {};
  bool usable = false;
  // What was tried, for messages.
  char problem[768] = "";

  Loaded() noexcept {
    void *file = nullptr;
    int length = 0;
    for (const char *name : kNames) {
      file = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (file != nullptr) break;
      const char *error = dlerror();
      const auto free = sizeof problem - static_cast<size_t>(length);
      const int more = std::snprintf(problem + length, free, "%s%s", length > 0 ? "; " : "",
                                     error != nullptr ? error : name);
      // Cut off where there is no more room.
      length = more < static_cast<int>(free) ? length + more : static_cast<int>(sizeof problem) - 1;
    }
    if (file != nullptr) usable = take_functions(file);
  }

  template <typename Function>
  bool take(void *file, const char *name, Function *function) noexcept {
    *function = reinterpret_cast<Function>(dlsym(file, name));
    if (*function != nullptr) return true;
    std::snprintf(problem, sizeof problem, "it was found, but has no function %s", name);
    return false;
  }

  bool take_functions(void *file) noexcept {
    CublasLt &l = library;
    return take(file, "cublasLtCreate", &l.create) && take(file, "cublasLtMatmul", &l.matmul) &&
           take(file, "cublasLtMatmulAlgoGetHeuristic", &l.heuristic) &&
           take(file, "cublasLtMatmulDescCreate", &l.desc_create) &&
           take(file, "cublasLtMatmulDescSetAttribute", &l.desc_set) &&
           take(file, "cublasLtMatmulDescDestroy", &l.desc_destroy) &&
           take(file, "cublasLtMatrixLayoutCreate", &l.layout_create) &&
           take(file, "cublasLtMatrixLayoutDestroy", &l.layout_destroy) &&
           take(file, "cublasLtMatmulPreferenceCreate", &l.preference_create) &&
           take(file, "cublasLtMatmulPreferenceSetAttribute", &l.preference_set) &&
           take(file, "cublasLtMatmulPreferenceDestroy", &l.preference_destroy);
  }
};

}  // namespace

const CublasLt *cublaslt_library(glance_status *status) noexcept {
  static const Loaded loaded;
  if (loaded.usable) return &loaded.library;
  *status = fail(GLANCE_UNSUPPORTED, "lora_linear: cuBLASLt is not usable: %s", loaded.problem);
  return nullptr;
}

glance_status cublaslt_handle(const CublasLt &library, int device, cudaStream_t stream,
                              cublasLtHandle_t *handle) noexcept {
  constexpr int kMaxDevices = 64;
  static std::mutex mutex;
  static cublasLtHandle_t handles[kMaxDevices] = {};
  if (device >= kMaxDevices) {
    return fail(GLANCE_UNSUPPORTED, "lora_linear: cuBLASLt is used on the first %d devices only",
                kMaxDevices);
  }
  const std::lock_guard<std::mutex> lock(mutex);
  if (handles[device] == nullptr) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    glance_status status =
        cuda_status("cudaStreamIsCapturing", cudaStreamIsCapturing(stream, &capture));
    if (status != GLANCE_OK) return status;
    if (capture != cudaStreamCaptureStatusNone) {
      return fail(GLANCE_UNSUPPORTED,
                  "lora_linear: the first call with cuBLASLt on a device cannot be captured");
    }
    status = cublaslt_status("cublasLtCreate", library.create(&handles[device]));
    if (status != GLANCE_OK) return status;
  }
  *handle = handles[device];
  return GLANCE_OK;
}

glance_status cublaslt_status(const char *what, cublasStatus_t status) noexcept {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return GLANCE_OK;
    case CUBLAS_STATUS_ALLOC_FAILED:
      return fail(GLANCE_OUT_OF_MEMORY, "lora_linear: %s: out of memory", what);
    case CUBLAS_STATUS_NOT_SUPPORTED:
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return fail(GLANCE_UNSUPPORTED, "lora_linear: %s: not supported", what);
    default:
      return fail(GLANCE_CUDA_ERROR, "lora_linear: %s: cublasStatus_t %d", what,
                  static_cast<int>(status));
  }
}

}  // namespace glance
