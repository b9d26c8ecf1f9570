// Sizes in the messages are row-major, rows x k; the library counts columns first, so that to it y
// is w x^T.
#include "cuda/cublaslt_product.h"

#include <cinttypes>
#include <cstring>
#include <mutex>

#include "core/status.h"

namespace glance {
namespace {

// What the choice of an algorithm depends on.
struct ProductKey {
  int64_t device, dtype, y_dtype, epilogue, rows, n, k, x_stride, w_stride, y_stride;
  // The largest powers of 2 that the addresses are multiples of, up to kMostAlignment.
  int64_t x_alignment, w_alignment, y_alignment, bias_alignment;
};
static_assert(sizeof(ProductKey) == 14 * sizeof(int64_t), "compared as bytes");

int64_t alignment_of(const void *data) {
  constexpr uintptr_t kMostAlignment = 256;
  const auto address = reinterpret_cast<uintptr_t>(data) | kMostAlignment;
  return static_cast<int64_t>(address & (~address + 1));
}

cudaDataType_t library_type(glance_dtype dtype) {
  switch (dtype) {
    case GLANCE_BF16:
      return CUDA_R_16BF;
    case GLANCE_F16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

// The library's descriptions of a product. After a failure the others do nothing.
class Description {
 public:
  Description(const CublasLt &library, const CublasLtProduct &p) noexcept : library_(library) {
    note(library.desc_create(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
    if (p.bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    layout(&w, p.dtype, p.k, p.n, p.w_stride);
    layout(&x, p.dtype, p.k, p.rows, p.x_stride);
    layout(&y, p.y_dtype, p.n, p.rows, p.y_stride);
  }
  ~Description() {
    if (operation != nullptr) library_.desc_destroy(operation);
    for (cublasLtMatrixLayout_t matrix : {w, x, y}) {
      if (matrix != nullptr) library_.layout_destroy(matrix);
    }
  }
  Description(const Description &) = delete;
  Description &operator=(const Description &) = delete;

  glance_status status() const { return cublaslt_status("cuBLASLt's descriptions", status_); }

  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t w = nullptr;
  cublasLtMatrixLayout_t x = nullptr;
  cublasLtMatrixLayout_t y = nullptr;

 private:
  void note(cublasStatus_t status) {
    if (status_ == CUBLAS_STATUS_SUCCESS) status_ = status;
  }
  template <typename Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value &value) {
    if (status_ == CUBLAS_STATUS_SUCCESS) {
      note(library_.desc_set(operation, attribute, &value, sizeof value));
    }
  }
  void layout(cublasLtMatrixLayout_t *matrix, glance_dtype dtype, int64_t rows, int64_t columns,
              int64_t stride) {
    if (status_ != CUBLAS_STATUS_SUCCESS) return;
    note(library_.layout_create(matrix, library_type(dtype), static_cast<uint64_t>(rows),
                                static_cast<uint64_t>(columns), stride));
  }

  const CublasLt &library_;
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
};

glance_status ask(const CublasLt &library, cublasLtHandle_t handle, const Description &description,
                  const ProductKey &key, cublasLtMatmulAlgo_t *algorithm) noexcept {
  cublasLtMatmulPreference_t preference = nullptr;
  cublasStatus_t status = library.preference_create(&preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    if (status == CUBLAS_STATUS_SUCCESS) {
      status = library.preference_set(preference, attribute, &value, sizeof value);
    }
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kCublasLtWorkspaceBytes));
  // Sums are added in f32 only.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(key.w_alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(key.x_alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(key.y_alignment));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(key.y_alignment));
  cublasLtMatmulHeuristicResult_t result = {};
  int count = 0;
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = library.heuristic(handle, description.operation, description.w, description.x,
                               description.y, description.y, preference, 1, &result, &count);
  }
  if (preference != nullptr) library.preference_destroy(preference);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0)) {
    return fail(GLANCE_UNSUPPORTED,
                "lora_linear: cuBLASLt has no algorithm for %" PRId64 " x %" PRId64 " -> %" PRId64
                " with strides %" PRId64 ", %" PRId64 " (W) and %" PRId64 " (y)",
                key.rows, key.k, key.n, key.x_stride, key.w_stride, key.y_stride);
  }
  *algorithm = result.algo;
  return cublaslt_status("cublasLtMatmulAlgoGetHeuristic", status);
}

// Asking takes longer than small products do, so that answers are kept: a model has some tens of
// shapes. In a full table the oldest makes room.
class Algorithms {
 public:
  glance_status find(const CublasLt &library, cublasLtHandle_t handle,
                     const Description &description, const ProductKey &key,
                     cublasLtMatmulAlgo_t *algorithm) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (int i = 0; i < count_; ++i) {
      if (std::memcmp(&entries_[i].key, &key, sizeof key) == 0) {
        *algorithm = entries_[i].algorithm;
        return GLANCE_OK;
      }
    }
    const glance_status status = ask(library, handle, description, key, algorithm);
    if (status != GLANCE_OK) return status;
    entries_[next_] = {key, *algorithm};
    next_ = (next_ + 1) % kEntries;
    if (count_ < kEntries) ++count_;
    return GLANCE_OK;
  }

 private:
  static constexpr int kEntries = 256;
  struct Entry {
    ProductKey key;
    cublasLtMatmulAlgo_t algorithm;
  };
  std::mutex mutex_;
  Entry entries_[kEntries] = {};
  int count_ = 0;
  int next_ = 0;
};

}  // namespace

glance_status cublaslt_multiply(const CublasLt &library, cublasLtHandle_t handle, int device,
                                const CublasLtProduct &p, void *workspace,
                                cudaStream_t stream) noexcept {
  const Description description(library, p);
  glance_status status = description.status();
  if (status != GLANCE_OK) return status;
  const ProductKey key = {device,
                          p.dtype,
                          p.y_dtype,
                          p.epilogue,
                          p.rows,
                          p.n,
                          p.k,
                          p.x_stride,
                          p.w_stride,
                          p.y_stride,
                          alignment_of(p.x),
                          alignment_of(p.w),
                          alignment_of(p.y),
                          alignment_of(p.bias)};
  static Algorithms algorithms;
  cublasLtMatmulAlgo_t algorithm = {};
  status = algorithms.find(library, handle, description, key, &algorithm);
  if (status != GLANCE_OK) return status;
  const float one = 1.0f;
  const float zero = 0.0f;
  return cublaslt_status(
      "cublasLtMatmul",
      library.matmul(handle, description.operation, &one, p.w, description.w, p.x, description.x,
                     &zero, p.y, description.y, p.y, description.y, &algorithm, workspace,
                     static_cast<size_t>(kCublasLtWorkspaceBytes), stream));
}

}  // namespace glance
