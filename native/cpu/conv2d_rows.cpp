// conv2d, the loops over pixels; compiled once per instruction set.
//
// Formula: glance/conv2d.h. A pixel's channels lie side by side: 3 to 512 of them. Moments and
// norms read each value once and do 4 to 25 operations with it; they run beside a convolution that
// has hundreds. f32 arithmetic. No alignment beyond the element's.
#include <cmath>
#include <cstring>

#include "cpu/conv2d.h"
#include "cpu/isa.h"
#include "cpu/tile_sums.h"
#include "math/silu.h"

namespace glance {
namespace {

void moments(const float *x, int64_t pixels, int64_t channels, const float *pivot, float *sum,
             float *squares) {
  for_vectors(channels, [=](int64_t c, auto part) {
    const Floats middle = load(pivot + c, part);
    Floats first{};
    Floats second{};
    for (int64_t p = 0; p < pixels; ++p) {
      const Floats distance = load(x + p * channels + c, part) - middle;
      first += distance;
      second += distance * distance;
    }
    store(sum + c, first, part);
    store(squares + c, second, part);
  });
}

template <bool kSilu>
Floats activated(Floats u) {
  if constexpr (kSilu) return silu(u);
  return u;
}

template <bool kSilu>
void channel_norm_row(const PixelRow &row, const float *mean, const float *scale,
                      const float *bias) {
  for (int64_t p = 0; p < row.pixels; ++p) {
    const float *x = row.x + p * row.channels;
    float *u = row.u + p * row.u_stride;
    for_vectors(row.channels, [=](int64_t c, auto part) {
      Floats n = (load(x + c, part) - load(mean + c, part)) * load(scale + c, part);
      if (bias != nullptr) n += load(bias + c, part);
      store(u + c, activated<kSilu>(n), part);
    });
  }
}

void channel_norm(const PixelRow &row, const float *mean, const float *scale, const float *bias,
                  bool silu) {
  if (silu) return channel_norm_row<true>(row, mean, scale, bias);
  channel_norm_row<false>(row, mean, scale, bias);
}

template <bool kSilu>
void pixel_norm_row(const PixelRow &row, const float *weight, const float *bias, float epsilon) {
  const float root = std::sqrt(static_cast<float>(row.channels));
  for (int64_t p = 0; p < row.pixels; ++p) {
    const float *x = row.x + p * row.channels;
    float *u = row.u + p * row.u_stride;
    const float length =
        std::sqrt(row_sum(x, row.channels, 0.0f, [](Floats v) { return v * v; }));
    // A NaN passes.
    const float by = root / (length < epsilon ? epsilon : length);
    for_vectors(row.channels, [=](int64_t c, auto part) {
      Floats n = load(x + c, part) * by;
      if (weight != nullptr) n = n * load(weight + c, part);
      if (bias != nullptr) n = n + load(bias + c, part);
      store(u + c, activated<kSilu>(n), part);
    });
  }
}

void pixel_norm(const PixelRow &row, const float *weight, const float *bias, float epsilon,
                bool silu) {
  if (silu) return pixel_norm_row<true>(row, weight, bias, epsilon);
  pixel_norm_row<false>(row, weight, bias, epsilon);
}

void silu_row(const PixelRow &row) {
  for (int64_t p = 0; p < row.pixels; ++p) {
    const float *x = row.x + p * row.channels;
    float *u = row.u + p * row.u_stride;
    for_vectors(row.channels, [=](int64_t c, auto part) {
      store(u + c, silu(load(x + c, part)), part);
    });
  }
}

// Pixels that share a load of the weights.
constexpr int kFewPixels = 4;

// parts[i][o] += a vector of pixel i times one of output o's weights.
template <int kOutputs, int kPixels, typename Part>
GLANCE_MATH void add(Floats (&parts)[kPixels][kOutputs], const float *x, int64_t pixel,
                     const float *w, int64_t length, Part part) {
  Floats values[kPixels];
#pragma GCC unroll 4
  for (int i = 0; i < kPixels; ++i) values[i] = load(x + i * pixel, part);
#pragma GCC unroll 4
  for (int o = 0; o < kOutputs; ++o) {
    const Floats factor = load(w + o * length, part);
#pragma GCC unroll 4
    for (int i = 0; i < kPixels; ++i) parts[i][o] += values[i] * factor;
  }
}

template <int kOutputs, int kPixels>
void few_outputs_of(const float *u, int64_t pixel, int64_t row, int64_t side, int64_t channels,
                    const float *w, float *sums) {
  const int64_t length = side * side * channels;
  Floats parts[kPixels][kOutputs] = {};
  for (int64_t tap = 0; tap < side * side; ++tap) {
    const float *x = u + tap / side * row + tap % side * pixel;
    const float *by = w + tap * channels;
    int64_t c = 0;
    for (; c + kWidth <= channels; c += kWidth) add(parts, x + c, pixel, by + c, length, Whole{});
    if (c < channels) add(parts, x + c, pixel, by + c, length, First{channels - c});
  }
#pragma GCC unroll 4
  for (int i = 0; i < kPixels; ++i) {
#pragma GCC unroll 4
    for (int o = 0; o < kOutputs; ++o) sums[i * kTileColumns + o] = folded(parts[i][o]);
  }
}

template <int kOutputs>
void few_outputs_of(const float *u, int64_t pixel, int64_t row, int64_t side, int64_t channels,
                    const float *w, int rows, float *sums) {
  int i = 0;
  for (; i + kFewPixels <= rows; i += kFewPixels) {
    few_outputs_of<kOutputs, kFewPixels>(u + i * pixel, pixel, row, side, channels, w,
                                         sums + i * kTileColumns);
  }
  for (; i < rows; ++i) {
    few_outputs_of<kOutputs, 1>(u + i * pixel, pixel, row, side, channels, w,
                                sums + i * kTileColumns);
  }
}

void few_outputs(const float *u, int64_t pixel, int64_t row, int64_t side, int64_t channels,
                 const float *w, int rows, int outputs, float *sums) {
  static_assert(kFewOutputs == 4, "one case for each");
  switch (outputs) {
    case 1:
      return few_outputs_of<1>(u, pixel, row, side, channels, w, rows, sums);
    case 2:
      return few_outputs_of<2>(u, pixel, row, side, channels, w, rows, sums);
    case 3:
      return few_outputs_of<3>(u, pixel, row, side, channels, w, rows, sums);
    default:
      return few_outputs_of<4>(u, pixel, row, side, channels, w, rows, sums);
  }
}

// y may be residual, element by element.
template <bool kBias, bool kResidual>
void finish_rows(float *y, const float *bias, const float *residual, int64_t stride,
                 const float *sums, int rows, int used) {
  for (int i = 0; i < rows; ++i) {
    const float *row = sums + i * kTileColumns;
    const float *before = kResidual ? residual + i * stride : nullptr;
    float *out = y + i * stride;
    for_vectors(used, [=](int64_t j, auto part) {
      Floats s = load(row + j);
      if constexpr (kBias) s += load(bias + j, part);
      if constexpr (kResidual) s += load(before + j, part);
      store(out + j, s, part);
    });
  }
}

void finish(float *y, const float *bias, const float *residual, int64_t stride, const float *sums,
            int rows, int used) {
  if (bias == nullptr) {
    if (residual == nullptr) {
      return finish_rows<false, false>(y, bias, residual, stride, sums, rows, used);
    }
    return finish_rows<false, true>(y, bias, residual, stride, sums, rows, used);
  }
  if (residual == nullptr) {
    return finish_rows<true, false>(y, bias, residual, stride, sums, rows, used);
  }
  finish_rows<true, true>(y, bias, residual, stride, sums, rows, used);
}

constexpr Conv2dKernels kKernels = {moments, channel_norm, pixel_norm, silu_row, few_outputs, finish};

}  // namespace

const Conv2dKernels &GLANCE_FOR_ISA(conv2d_kernels)() noexcept { return kKernels; }

}  // namespace glance
