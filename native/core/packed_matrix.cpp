// glance_matrix: checks, creation and release.
#include "core/packed_matrix.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/checks.h"
#include "core/matrix.h"
#include "core/status.h"
#include "cpu/pack.h"

namespace glance {
namespace {

constexpr const char *kOperation = "matrix";

glance_status check_args(const glance_matrix_args &a) noexcept {
  if (a.struct_size != static_cast<int64_t>(sizeof a)) {
    return reject(kOperation, "struct_size", "sizeof(glance_matrix_args) of this ABI version",
                  a.struct_size);
  }
  if (a.rows < 1) return reject(kOperation, "rows", "1 or more", a.rows);
  if (a.columns < 1) return reject(kOperation, "columns", "1 or more", a.columns);
  if (a.row_stride < 0) return reject(kOperation, "row_stride", "0 or more", a.row_stride);
  if (a.column_stride < 0) return reject(kOperation, "column_stride", "0 or more", a.column_stride);
  glance_status status = check_dtype(kOperation, "dtype", a.dtype, a.device);
  if (status == GLANCE_OK) status = check_device(kOperation, a.device, a.device_index, a.reserved);
  if (status != GLANCE_OK) return status;
  if (a.data == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "matrix: data is null");
  const int64_t element = dtype_bytes(a.dtype);
  if (reinterpret_cast<uintptr_t>(a.data) % static_cast<uintptr_t>(element) != 0) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "matrix: data is not aligned to its element of %" PRId64 " bytes", element);
  }
  int64_t down, across, last, padded_rows, padded_columns;
  if (__builtin_mul_overflow(a.rows - 1, a.row_stride, &down) ||
      __builtin_mul_overflow(a.columns - 1, a.column_stride, &across) ||
      __builtin_add_overflow(down, across, &last) || __builtin_add_overflow(last, 1, &last) ||
      __builtin_mul_overflow(last, element, &last) ||
      __builtin_add_overflow(a.rows, 64, &padded_rows) ||
      __builtin_add_overflow(a.columns, 2, &padded_columns) ||
      __builtin_mul_overflow(padded_rows, padded_columns, &last) || last > INT64_MAX / 8) {
    return fail(GLANCE_INVALID_ARGUMENT,
                "matrix: %" PRId64 " x %" PRId64 " with row_stride %" PRId64
                " and column_stride %" PRId64 " does not fit an address space",
                a.rows, a.columns, a.row_stride, a.column_stride);
  }
  return GLANCE_OK;
}

}  // namespace

glance_status check_packed(const char *operation, const char *name, const glance_matrix *matrix,
                           int64_t rows, int64_t columns, glance_dtype dtype, glance_device device,
                           int32_t device_index) noexcept {
  if (matrix == nullptr) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s is null", operation, name);
  }
  const glance_matrix &m = *matrix;
  if ((rows >= 0 && m.rows != rows) || (columns >= 0 && m.columns != columns)) {
    char expected_rows[24] = "any";
    char expected_columns[24] = "any";
    if (rows >= 0) std::snprintf(expected_rows, sizeof expected_rows, "%" PRId64, rows);
    if (columns >= 0) std::snprintf(expected_columns, sizeof expected_columns, "%" PRId64, columns);
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s is %" PRId64 " x %" PRId64 ", expected %s x %s",
                operation, name, m.rows, m.columns, expected_rows, expected_columns);
  }
  if (m.dtype != dtype) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s has dtype %d, but the call has %d", operation,
                name, m.dtype, dtype);
  }
  if (m.device != device || m.device_index != device_index) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s is on another device than the call", operation,
                name);
  }
  if (m.device == GLANCE_CPU && m.panel_columns != panel_columns()) {
    return fail(GLANCE_INVALID_ARGUMENT, "%s: %s was made for another instruction set", operation,
                name);
  }
  return GLANCE_OK;
}

}  // namespace glance

extern "C" {

glance_status glance_matrix_create(const glance_matrix_args *args, glance_matrix **matrix) {
  using namespace glance;
  if (matrix == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "matrix: matrix is null");
  *matrix = nullptr;
  if (args == nullptr) return fail(GLANCE_INVALID_ARGUMENT, "matrix: args is null");
  glance_status status = check_args(*args);
  if (status != GLANCE_OK) return status;
  auto *made = new (std::nothrow) glance_matrix{};
  if (made == nullptr) return fail(GLANCE_OUT_OF_MEMORY, "matrix: no memory for its handle");
  made->rows = args->rows;
  made->columns = args->columns;
  made->dtype = args->dtype;
  made->device = args->device;
  made->device_index = args->device_index;
  if (args->device == GLANCE_CUDA) {
    made->data = args->data;
    made->row_stride = args->row_stride;
    made->column_stride = args->column_stride;
  } else {
    status = pack_cpu(*args, *made);
  }
  if (status != GLANCE_OK) {
    delete made;
    return status;
  }
  *matrix = made;
  return GLANCE_OK;
}

void glance_matrix_destroy(glance_matrix *matrix) {
  if (matrix == nullptr) return;
  std::free(matrix->panels);
  delete matrix;
}

int64_t glance_matrix_bytes(const glance_matrix *matrix) {
  return matrix == nullptr ? 0 : matrix->bytes;
}

glance_status glance_release_mapped_pages(const void *data, int64_t bytes) {
  using namespace glance;
  if (bytes < 0) return reject("release_mapped_pages", "bytes", "0 or more", bytes);
  if (data == nullptr && bytes > 0) {
    return fail(GLANCE_INVALID_ARGUMENT, "release_mapped_pages: data is null");
  }
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + page - 1) / page * page;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / page * page;
  if (begin >= end) return GLANCE_OK;
  if (madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED) != 0) {
    return fail(GLANCE_INVALID_ARGUMENT, "release_mapped_pages: %s", std::strerror(errno));
  }
  return GLANCE_OK;
}
}
