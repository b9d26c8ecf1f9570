// A call of glance_lora_linear_backward: its shape, random tensors and the struct over them.
#pragma once

#include <glance/lora_linear.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>

#include "tests/matrix_handle.h"
#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace glance_test {

struct BackwardCase {
  glance_dtype dtype = GLANCE_F32;
  int64_t rows = 1, k = 1, n = 1, rank = 1, gap = 0, offset = 0;
  // Offsets and strides are rounded up to multiples of 8 elements: 16 bytes in the narrow types.
  bool aligned = false;
  bool accumulate = false;

  int64_t rounded_up(int64_t elements) const { return aligned ? (elements + 7) / 8 * 8 : elements; }
  // A tensor of a call, with some multiple of the gap.
  Buffer buffer(glance_dtype type, int64_t r, int64_t columns, int64_t gaps = 1) const {
    const int64_t stride = rounded_up(columns + gaps * gap);
    return Buffer(type, r, columns, stride - columns, rounded_up(offset));
  }

  std::string name() const {
    return std::string(glance_test::name(dtype)) + " rows=" + std::to_string(rows) +
           " K=" + std::to_string(k) + " N=" + std::to_string(n) + " rank=" + std::to_string(rank) +
           " gap=" + std::to_string(gap) + " offset=" + std::to_string(offset) +
           (aligned ? " aligned" : "") + (accumulate ? " accumulate" : "");
  }
};

// The memory it reads and writes. Weights are scaled so that every term of dx is of size 1.
struct BackwardTensors {
  BackwardCase c;
  Buffer x, dy, down, up, weight, dx, d_down, d_up;
  float scale = 0;

  BackwardTensors(const BackwardCase &shape, unsigned seed)
      : c(shape),
        x(c.buffer(c.dtype, c.rows, c.k)),
        dy(c.buffer(c.dtype, c.rows, c.n, 2)),
        down(c.buffer(c.dtype, c.rank, c.k)),
        up(c.buffer(c.dtype, c.n, c.rank, 3)),
        weight(c.buffer(c.dtype, c.n, c.k)),
        dx(c.buffer(c.dtype, c.rows, c.k)),
        d_down(c.buffer(GLANCE_F32, c.rank, c.k)),
        d_up(c.buffer(GLANCE_F32, c.n, c.rank)) {
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

using BackwardOperation = glance_status (*)(const glance_lora_linear_backward_args *, void *);

// The struct over the tensors, which must outlive it.
struct BackwardCall {
  BackwardTensors *tensors;
  MatrixHandle weight;
  glance_lora_linear_backward_args args = {};

  explicit BackwardCall(BackwardTensors *t) : tensors(t) {
    glance_matrix_args transposed = glance_test::matrix_args(t->weight);
    std::swap(transposed.rows, transposed.columns);
    std::swap(transposed.row_stride, transposed.column_stride);
    weight = MatrixHandle(transposed, t->weight);
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
    args.device = device();
  }

  // With the workspace that the call asks for.
  glance_status run(BackwardOperation operation = glance_lora_linear_backward) const {
    if (!on_cuda()) return operation(&args, nullptr);
    BackwardTensors &t = *tensors;
    const Mirror mirror({&t.x, &t.dy, &t.down, &t.up, &t.dx, &t.d_down, &t.d_up});
    glance_lora_linear_backward_args placed = args;
    mirror.place(&placed.x, &placed.dy, &placed.down, &placed.up, &placed.dx, &placed.d_down,
                 &placed.d_up);
    int64_t bytes = 0;
    // What it refuses, the call itself refuses as well.
    if (glance_lora_linear_backward_workspace(&placed, &bytes) != GLANCE_OK) bytes = 0;
    const Workspace workspace(bytes);
    placed.workspace = workspace.data();
    placed.workspace_bytes = bytes;
    const glance_status status = mirror.done(operation(&placed, nullptr));
    EXPECT_TRUE(workspace.guard_untouched()) << "wrote behind its workspace of " << bytes;
    return status;
  }
};

}  // namespace glance_test
