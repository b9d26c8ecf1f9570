// Checks on the adapters of a call, shared by the operations that take them.
#pragma once

#include <glance/lora_linear.h>

namespace glance {

// GLANCE_OK if the table's segments cover rows exactly and every down-projection reads columns and
// is of this type and on this device.
glance_status check_adapters(const char *operation, const glance_adapter_table &table, int64_t rows,
                             int64_t columns, glance_dtype dtype, glance_device device,
                             int32_t device_index) noexcept;

// The most columns of h that any adapter fills; 0 without adapters. The table is checked.
int64_t h_columns(const glance_adapter_table &table) noexcept;

}  // namespace glance
