// A call of glance_conv2d: its tensors in memory, and its struct.
#pragma once

#include <glance/conv2d.h>

#include <cstdint>
#include <random>
#include <string>

#include "tests/matrix_handle.h"
#include "tests/support.h"

namespace glance_test {

// The matrices A, B and G of glance/conv2d.h's WINOGRAD, filled up with zeros.
struct Winograd {
  int patch, frequencies;
  double a[2][4], b[4][4], g[4][3];
};

inline const Winograd &winograd(bool upscale) {
  static const Winograd plain = {4,
                                 4,
                                 {{1, 1, 1, 0}, {0, 1, -1, -1}},
                                 {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
                                 {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}}};
  static const Winograd upscaled = {3,
                                    3,
                                    {{1, 1, 0}, {0, 1, 1}},
                                    {{1, -1, 0}, {0, 1, 0}, {0, -1, 1}},
                                    {{1, 0, 0}, {1, 1, 1}, {0, 0, 1}}};
  return upscale ? upscaled : plain;
}

struct Conv2dCase {
  int64_t samples = 1, height = 1, width = 1, in = 1, out = 1;
  int32_t kernel = 3;
  glance_conv2d_norm norm = GLANCE_CONV2D_NORM_NONE;
  int64_t groups = 0;
  bool silu = false, winograd = false, upscale = false, bias = true, affine = true;
  bool residual = false, in_place = false;
  // Added to x, for a mean far from zero.
  float offset = 0.0f;

  // With upscale there is no other form.
  bool in_winograd() const { return winograd || upscale; }
  int64_t scale() const { return upscale ? 2 : 1; }

  std::string name() const {
    return std::to_string(samples) + " x " + std::to_string(height) + " x " +
           std::to_string(width) + ", " + std::to_string(in) + " -> " + std::to_string(out) +
           " kernel=" + std::to_string(kernel) + " norm=" + std::to_string(norm) +
           " groups=" + std::to_string(groups) + " silu=" + std::to_string(silu) +
           " winograd=" + std::to_string(in_winograd()) + " upscale=" + std::to_string(upscale) +
           " bias=" + std::to_string(bias) +
           " affine=" + std::to_string(affine) + " residual=" + std::to_string(residual) +
           " in_place=" + std::to_string(in_place) + " offset=" + std::to_string(offset);
  }
};

// Pictures are matrices of pixels x channels.
struct Conv2dProblem {
  Conv2dCase c;
  Buffer x, y, residual, kernel, bias, norm_weight, norm_bias;
  MatrixHandle weights;
  glance_conv2d_args args = {};

  Conv2dProblem(const Conv2dCase &problem, unsigned seed)
      : c(problem),
        x(GLANCE_F32, c.samples * c.height * c.width, c.in),
        y(GLANCE_F32, c.samples * c.height * c.width * c.scale() * c.scale(), c.out),
        residual(GLANCE_F32, y.rows, c.out),
        kernel(GLANCE_F32, c.out, c.kernel * c.kernel * c.in),
        bias(GLANCE_F32, 1, c.out),
        norm_weight(GLANCE_F32, 1, c.in),
        norm_bias(GLANCE_F32, 1, c.in) {
    std::mt19937 random(seed);
    x.fill(random);
    for (int64_t p = 0; p < x.rows; ++p) {
      for (int64_t i = 0; i < c.in; ++i) x.set(p, i, x.get(p, i) + c.offset);
    }
    residual.fill(random);
    kernel.fill(random);
    bias.fill(random);
    norm_weight.fill(random);
    norm_bias.fill(random);
    if (c.in_place) y.bytes = residual.bytes;
    fill_args();
  }
  Conv2dProblem(const Conv2dProblem &) = delete;
  Conv2dProblem &operator=(const Conv2dProblem &) = delete;

  // Packs the weights for the instruction set in use.
  void pack() {
    weights = MatrixHandle(c.in_winograd() ? transformed() : kernel);
    args.weights = weights.get();
  }

 private:
  // G W G^T of each channel.
  Buffer transformed() const {
    const Winograd &m = winograd(c.upscale);
    Buffer u(GLANCE_F32, c.out, m.frequencies * m.frequencies * c.in);
    for (int64_t o = 0; o < c.out; ++o) {
      for (int64_t column = 0; column < u.columns; ++column) {
        const int64_t f = column / c.in;
        double sum = 0;
        for (int64_t t = 0; t < 9; ++t) {
          sum += m.g[f / m.frequencies][t / 3] * m.g[f % m.frequencies][t % 3] *
                 static_cast<double>(kernel.get(o, t * c.in + column % c.in));
        }
        u.set(o, column, static_cast<float>(sum));
      }
    }
    return u;
  }

  void fill_args() {
    args.struct_size = sizeof args;
    args.x = x.data();
    args.y = y.data();
    args.residual = c.in_place ? y.data() : c.residual ? residual.data() : nullptr;
    args.bias = c.bias ? bias.data() : nullptr;
    args.norm_weight = c.affine ? norm_weight.data() : nullptr;
    args.norm_bias = c.affine ? norm_bias.data() : nullptr;
    args.samples = c.samples;
    args.height = c.height;
    args.width = c.width;
    args.in_channels = c.in;
    args.out_channels = c.out;
    args.groups = c.groups;
    args.epsilon = c.norm == GLANCE_CONV2D_NORM_NONE ? 0.0f : 1e-6f;
    args.kernel = c.kernel;
    args.form = c.in_winograd() ? GLANCE_CONV2D_FORM_WINOGRAD : GLANCE_CONV2D_FORM_DIRECT;
    args.norm = c.norm;
    args.silu = c.silu;
    args.upscale = c.upscale;
    args.dtype = GLANCE_F32;
  }
};

}  // namespace glance_test
