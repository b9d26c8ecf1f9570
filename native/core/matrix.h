// Checks on a matrix argument, shared by the operations.
#pragma once

#include <glance/core.h>

#include <cstdint>

namespace glance {

// A matrix as an operation's struct describes it, with the name its messages use.
struct Matrix {
  const char *operation;
  const char *name;
  const void *data;
  int64_t rows;
  int64_t columns;
  int64_t stride;
  int64_t element_bytes;

  // From the first byte to the one after the last; only after check() has passed.
  uintptr_t begin() const noexcept;
  uintptr_t end() const noexcept;
};

// The size of an element, or 0 for a number that is no glance_dtype.
int64_t dtype_bytes(glance_dtype dtype) noexcept;

// GLANCE_OK if rows x columns elements can be addressed: not null, aligned, rows that do not
// overlap, no overflow. rows and columns must be above zero.
glance_status check(const Matrix &matrix) noexcept;

// GLANCE_OK if the address ranges of the two have nothing in common.
glance_status check_apart(const Matrix &output, const Matrix &other) noexcept;

// The same, but the two may also be one: same pointer, same stride, for work in place.
glance_status check_same_or_apart(const Matrix &output, const Matrix &other) noexcept;

}  // namespace glance
