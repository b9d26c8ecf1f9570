#include "cuda/tensor_map.h"

#include "core/status.h"
#include "cuda/device.h"

namespace glance {

bool describe_matrix(CUtensorMap *map, glance_dtype dtype, const void *data, int64_t rows,
                     int64_t columns, int64_t stride, int32_t box_rows) noexcept {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const auto encode =
      reinterpret_cast<Encode>(driver_function("cuTensorMapEncodeTiled", 12000));
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
