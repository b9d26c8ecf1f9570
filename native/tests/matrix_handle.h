// A glance_matrix that destroys itself, and on CUDA the memory it remembers.
#pragma once

#include <glance/matrix.h>

#include <utility>

#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

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
  args.device = device();
  return args;
}

class MatrixHandle {
 public:
  MatrixHandle() = default;
  // args.data points into values, of which a copy is made on every device.
  MatrixHandle(glance_matrix_args args, const Buffer &values) {
    if (on_cuda()) {
      memory_ = DeviceCopy(values.bytes);
      const auto *data = static_cast<const unsigned char *>(args.data);
      args.data = memory_.data() + (data - values.bytes.data());
    }
    EXPECT_EQ(glance_matrix_create(&args, &matrix_), GLANCE_OK) << glance_last_error();
  }
  explicit MatrixHandle(const Buffer &values) : MatrixHandle(matrix_args(values), values) {}
  ~MatrixHandle() { glance_matrix_destroy(matrix_); }
  MatrixHandle(MatrixHandle &&other) noexcept
      : memory_(std::move(other.memory_)), matrix_(std::exchange(other.matrix_, nullptr)) {}
  MatrixHandle &operator=(MatrixHandle &&other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(matrix_, other.matrix_);
    return *this;
  }

  const glance_matrix *get() const { return matrix_; }

 private:
  DeviceCopy memory_;
  glance_matrix *matrix_ = nullptr;
};

}  // namespace glance_test
