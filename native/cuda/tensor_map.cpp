#include "cuda/tensor_map.h"

#include <cuda_runtime_api.h>

#include "core/status.h"

namespace glance {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// From the driver that the runtime has loaded, for the library must not need one to be loaded
// itself.
Encode find_encode() noexcept {
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess || found != cudaDriverEntryPointSuccess) return nullptr;
  return reinterpret_cast<Encode>(function);
}

}  // namespace

bool describe_matrix(CUtensorMap *map, glance_dtype dtype, const void *data, int64_t rows,
                     int64_t columns, int64_t stride, int32_t box_rows) noexcept {
  static const Encode encode = find_encode();
  if (encode == nullptr) return false;
  const CUtensorMapDataType type =
      dtype == GLANCE_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t row_bytes[] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[] = {64, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t every[] = {1, 1};
  return encode(map, type, 2, const_cast<void *>(data), sizes, row_bytes, box, every,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

glance_status tensor_map_failure(const char *operation) noexcept {
  return fail(GLANCE_CUDA_ERROR, "%s: the driver cannot describe a matrix for tensor copies",
              operation);
}

}  // namespace glance
