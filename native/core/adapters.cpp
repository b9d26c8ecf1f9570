#include "core/adapters.h"

#include <cinttypes>
#include <cstdio>

#include "core/checks.h"
#include "core/packed_matrix.h"
#include "core/status.h"

namespace glance {
namespace {

glance_status check_adapter(const char *operation, const glance_adapter &adapter, int index,
                            int64_t columns, glance_dtype dtype, glance_device device,
                            int32_t device_index) noexcept {
  char name[40];
  std::snprintf(name, sizeof name, "adapters[%d].down", index);
  glance_status status =
      check_packed(operation, name, adapter.down, -1, columns, dtype, device, device_index);
  if (status != GLANCE_OK) return status;
  if (adapter.down->rows > int64_t{GLANCE_MAX_LINEARS} * GLANCE_MAX_RANK) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s has %" PRId64 " rows, at most %d are supported",
                operation, name, adapter.down->rows, GLANCE_MAX_LINEARS * GLANCE_MAX_RANK);
  }
  std::snprintf(name, sizeof name, "adapters[%d].scale", index);
  status = check_finite(operation, name, adapter.scale);
  if (status != GLANCE_OK) return status;
  std::snprintf(name, sizeof name, "adapters[%d].reserved", index);
  return adapter.reserved == 0 ? GLANCE_OK : reject(operation, name, "0", adapter.reserved);
}

glance_status check_segments(const char *operation, const glance_adapter_table &t,
                             int64_t rows) noexcept {
  int64_t next = 0;
  for (int i = 0; i < t.segment_count; ++i) {
    const glance_segment &s = t.segments[i];
    if (s.begin != next || s.end < s.begin) {
      return fail(GLANCE_INVALID_ARGUMENT,
                  "%s: segments[%d] is rows %" PRId64 " to %" PRId64 ", but must begin at %" PRId64
                  ", without gap or overlap, and not end before it",
                  operation, i, s.begin, s.end, next);
    }
    if (s.adapter < -1 || s.adapter >= t.adapter_count) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: segments[%d].adapter must be -1 to %d, not %d",
                  operation, i, t.adapter_count - 1, s.adapter);
    }
    if (s.reserved != 0) {
      return fail(GLANCE_INVALID_ARGUMENT, "%s: segments[%d].reserved must be 0, not %d", operation,
                  i, s.reserved);
    }
    next = s.end;
  }
  if (next != rows) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: segments end at row %" PRId64 ", but there are %" PRId64 " rows", operation,
                next, rows);
  }
  return GLANCE_OK;
}

}  // namespace

glance_status check_adapters(const char *operation, const glance_adapter_table &t, int64_t rows,
                             int64_t columns, glance_dtype dtype, glance_device device,
                             int32_t device_index) noexcept {
  if (t.adapter_count < 0 || t.adapter_count > GLANCE_MAX_ADAPTERS) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: adapter_count must be 0 to %d, not %d", operation,
                GLANCE_MAX_ADAPTERS, t.adapter_count);
  }
  if (t.segment_count < 0 || (t.adapter_count == 0 && t.segment_count != 0)) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "%s: segment_count must be 0 or more, and 0 without adapters, not %d", operation,
                t.segment_count);
  }
  if (t.selection != nullptr && device == GLANCE_CPU) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: selection must be null on CPU", operation);
  }
  if (reinterpret_cast<uintptr_t>(t.selection) % alignof(int32_t) != 0) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: selection is not aligned to its element of 4 bytes",
                operation);
  }
  if (t.adapter_count == 0) return GLANCE_OK;
  if (t.adapters == nullptr) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: adapters is null", operation);
  }
  if (t.segments == nullptr && t.segment_count > 0) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: segments is null", operation);
  }
  for (int i = 0; i < t.adapter_count; ++i) {
    const glance_status status =
        check_adapter(operation, t.adapters[i], i, columns, dtype, device, device_index);
    if (status != GLANCE_OK) return status;
  }
  return check_segments(operation, t, rows);
}

int64_t h_columns(const glance_adapter_table &t) noexcept {
  int64_t columns = 0;
  for (int i = 0; i < t.adapter_count; ++i) {
    if (t.adapters[i].down->rows > columns) columns = t.adapters[i].down->rows;
  }
  return columns;
}

}  // namespace glance
