// A call of glance_lora_linear_backward: its shape, random tensors and the struct over them.
#pragma once

#include <glance/lora_linear.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>

#include "tests/matrix_handle.h"
#include "tests/support.h"

namespace glance_test {

struct BackwardCase {
  glance_dtype dtype = GLANCE_F32;
  int64_t rows = 1, k = 1, n = 1, rank = 1, gap = 0, offset = 0;
  bool accumulate = false;

  std::string name() const {
    return std::string(glance_test::name(dtype)) + " rows=" + std::to_string(rows) +
           " K=" + std::to_string(k) + " N=" + std::to_string(n) + " rank=" + std::to_string(rank) +
           " gap=" + std::to_string(gap) + " offset=" + std::to_string(offset) +
           (accumulate ? " accumulate" : "");
  }
};

// The memory it reads and writes. Weights are scaled so that every term of dx is of size 1.
struct BackwardTensors {
  BackwardCase c;
  Buffer x, dy, down, up, weight, dx, d_down, d_up;
  float scale = 0;

  BackwardTensors(const BackwardCase &shape, unsigned seed)
      : c(shape),
        x(c.dtype, c.rows, c.k, c.gap, c.offset),
        dy(c.dtype, c.rows, c.n, 2 * c.gap, c.offset),
        down(c.dtype, c.rank, c.k, c.gap, c.offset),
        up(c.dtype, c.n, c.rank, 3 * c.gap, c.offset),
        weight(c.dtype, c.n, c.k, c.gap, c.offset),
        dx(c.dtype, c.rows, c.k, c.gap, c.offset),
        d_down(GLANCE_F32, c.rank, c.k, c.gap, c.offset),
        d_up(GLANCE_F32, c.n, c.rank, c.gap, c.offset) {
    std::mt19937 random(seed);
    x.fill(random);
    dy.fill(random);
    down.fill(random, 1 / std::sqrt(static_cast<float>(c.k)));
    up.fill(random, 1 / std::sqrt(static_cast<float>(c.n)));
    weight.fill(random, 1 / std::sqrt(static_cast<float>(c.n)));
    scale = std::uniform_real_distribution<float>(-2.0f, 2.0f)(random);
    if (c.accumulate) {
      d_down.fill(random);
      d_up.fill(random);
    }
  }
};

// The struct over the tensors, which must outlive it.
struct BackwardCall {
  MatrixHandle weight;
  glance_lora_linear_backward_args args = {};

  explicit BackwardCall(BackwardTensors *t) {
    glance_matrix_args transposed = glance_test::matrix_args(t->weight);
    std::swap(transposed.rows, transposed.columns);
    std::swap(transposed.row_stride, transposed.column_stride);
    weight = MatrixHandle(transposed);
    args.struct_size = sizeof args;
    args.x = t->x.data();
    args.dy = t->dy.data();
    args.down = t->down.data();
    args.up = t->up.data();
    args.weight_transposed = weight.get();
    args.dx = t->dx.data();
    args.d_down = static_cast<float *>(t->d_down.data());
    args.d_up = static_cast<float *>(t->d_up.data());
    args.rows = t->c.rows;
    args.in_features = t->c.k;
    args.out_features = t->c.n;
    args.rank = t->c.rank;
    args.x_stride = t->x.stride;
    args.dy_stride = t->dy.stride;
    args.down_stride = t->down.stride;
    args.up_stride = t->up.stride;
    args.dx_stride = t->dx.stride;
    args.d_down_stride = t->d_down.stride;
    args.d_up_stride = t->d_up.stride;
    args.scale = t->scale;
    args.accumulate = t->c.accumulate ? 1 : 0;
    args.dtype = t->c.dtype;
  }
  glance_status run() const { return glance_lora_linear_backward(&args, nullptr); }
};

}  // namespace glance_test
