// A glance_matrix that destroys itself.
#pragma once

#include <glance/matrix.h>

#include <utility>

#include "tests/support.h"

namespace glance_test {

inline glance_matrix_args matrix_args(const Buffer &values) {
  glance_matrix_args args = {};
  args.struct_size = sizeof args;
  args.data = values.data();
  args.rows = values.rows;
  args.columns = values.columns;
  args.row_stride = values.stride;
  args.column_stride = 1;
  args.dtype = values.dtype;
  return args;
}

class MatrixHandle {
 public:
  MatrixHandle() = default;
  explicit MatrixHandle(const glance_matrix_args &args) {
    EXPECT_EQ(glance_matrix_create(&args, &matrix_), GLANCE_OK) << glance_last_error();
  }
  explicit MatrixHandle(const Buffer &values) : MatrixHandle(matrix_args(values)) {}
  ~MatrixHandle() { glance_matrix_destroy(matrix_); }
  MatrixHandle(MatrixHandle &&other) noexcept : matrix_(std::exchange(other.matrix_, nullptr)) {}
  MatrixHandle &operator=(MatrixHandle &&other) noexcept {
    std::swap(matrix_, other.matrix_);
    return *this;
  }

  const glance_matrix *get() const { return matrix_; }

 private:
  glance_matrix *matrix_ = nullptr;
};

}  // namespace glance_test
