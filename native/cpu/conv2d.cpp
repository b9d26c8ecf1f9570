// conv2d on the CPU: a matrix product on the register tile, over the taps of the kernel.
//
// Formula, shapes: glance/conv2d.h. The picture is cut into blocks of some rows and columns. For
// each, u is made once, with a rim of one pixel and zeros outside the picture, in memory that stays
// in the second-level cache; after that no tap needs a check. A tile is up to 14 pixels of a row
// times a panel of W; each tap is one term of it, whose rows of x are the pixels of u shifted by
// the tap. A panel is read once for all tiles of a block. So x is read once, with its rim, W once a
// block, and y is written once: 2 * taps * in * out operations a pixel.
//
// With upscale the four kinds of pixels of y are four convolutions of 2 x 2 taps, 4/9 of the work
// of repeating the pixels and convolving by 3 x 3.
//
// GROUP's moments are taken first, in chunks of pixels whose sums are added up in order in f64, so
// that they do not depend on the threads. They are of the distances from the sample's first pixel,
// for a mean far from zero would drown the variance.
//
// Measured, two cores of a virtual Xeon (AVX-512), GCC 12, November 2026, in GFLOP/s with norm, SiLU
// and residual: 64 x 64 x 512 213 (LibTorch 214), 64 x 64 x 32 125 (32), 8 x 8 x 96 118 (34); one
// core, 32 channels in and out without a norm: 150 of 171 that its registers can do.
#include "cpu/conv2d.h"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cmath>
#include <cstring>

#include "core/packed_matrix.h"
#include "core/status.h"
#include "cpu/isa.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"
#include "cpu/tiles.h"

namespace glance {
namespace {

// u of a block shall fit the second-level cache beside the panel in use.
constexpr int64_t kBlockBytes = 512 << 10;
// Five tiles of 14 pixels, or two where the pixels are long.
constexpr int64_t kBlockColumns = 70;
constexpr int64_t kLongBlockColumns = 28;
constexpr int64_t kLongPixel = 160;

// Sums of so many values in f32 are exact enough.
constexpr int64_t kMomentPixels = 512;

constexpr int64_t kTapsMost = 9;

int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

const float *floats(const void *data) { return static_cast<const float *>(data); }

// Some rows and columns of x.
struct Block {
  int64_t sample;
  int64_t top;
  int64_t left;
  int64_t rows;
  int64_t columns;
};

class Convolution {
 public:
  explicit Convolution(const glance_conv2d_args &args)
      : a_(args),
        tile_(tile_kernels()),
        kernels_(GLANCE_PICK_ISA(conv2d_kernels)()),
        channels_(args.in_channels),
        rim_(args.kernel == 3 ? 1 : 0),
        // Not a multiple of 2 KB, for then the pixels of a tile share few sets of the first cache.
        pixel_(channels_ % 512 == 0 ? channels_ + 16 : channels_) {}

  glance_status run() noexcept {
    cut();
    const bool group = a_.norm == GLANCE_CONV2D_NORM_GROUP;
    const int64_t block_floats =
        reads_x() ? 0 : (block_rows_ + 2 * rim_) * (block_columns_ + 2 * rim_) * pixel_;
    const int64_t per_thread = (block_floats + 15) / 16 * 16;
    const int64_t vectors = group ? 2 * a_.samples * channels_ : 0;
    const int64_t chunks = divided_up(a_.height * a_.width, kMomentPixels);
    const int64_t moments = group ? 2 * a_.samples * chunks * channels_ : 0;
    static thread_local Scratch scratch;
    // At least something, for memory of no size may be null.
    const int64_t few = few_outputs() ? parts() * a_.out_channels * a_.weights[0]->columns : 0;
    const int64_t needed = std::max<int64_t>({threads_ * per_thread, moments, 1}) + vectors + few;
    scale_ = reinterpret_cast<float *>(scratch.reserve(static_cast<size_t>(needed) * sizeof(float)));
    if (scale_ == nullptr) {
      return fail(GLANCE_OUT_OF_MEMORY, "conv2d: no memory for %" PRId64 " bytes of workspace",
                  needed * static_cast<int64_t>(sizeof(float)));
    }
    mean_ = scale_ + vectors / 2;
    few_ = scale_ + vectors;
    float *rest = few_ + few;
    if (few_outputs()) unpack();
    if (group) group_norm(chunks, rest);
    std::atomic<int64_t> next{0};
    parallel(threads_, [&](int thread, int) {
      float *u = rest + thread * per_thread;
      for (int64_t i = next++; i < blocks(); i = next++) convolve(block(i), u);
    });
    return GLANCE_OK;
  }

 private:
  // A single tap without a norm reads x where it is.
  bool reads_x() const {
    return a_.kernel == 1 && a_.norm == GLANCE_CONV2D_NORM_NONE && a_.silu == 0;
  }

  void cut() {
    const int64_t most = channels_ > kLongPixel ? kLongBlockColumns : kBlockColumns;
    across_ = divided_up(a_.width, most);
    block_columns_ = divided_up(a_.width, across_);
    const int64_t row_bytes =
        (block_columns_ + 2 * rim_) * pixel_ * static_cast<int64_t>(sizeof(float));
    const int64_t rows = std::max<int64_t>(kBlockBytes / row_bytes - 2 * rim_, 1);
    down_ = divided_up(a_.height, rows);
    const int64_t taps = a_.upscale != 0 ? 16 : a_.kernel * a_.kernel;
    const double work = 2.0 * static_cast<double>(a_.samples * a_.height * a_.width) *
                        static_cast<double>(taps * channels_) *
                        static_cast<double>(a_.out_channels);
    threads_ = threads_worth(work, a_.samples * a_.height);
    // The same number of blocks for each thread where there are few.
    const int64_t strips = a_.samples * across_;
    while (down_ < a_.height && strips * down_ < 8 * threads_ && strips * down_ % threads_ != 0) {
      ++down_;
    }
    block_rows_ = divided_up(a_.height, down_);
  }

  int64_t blocks() const { return a_.samples * across_ * down_; }

  Block block(int64_t index) const {
    const int64_t column = index % across_;
    const int64_t row = index / across_ % down_;
    const RowTile rows = row_tile(0, a_.height, row, down_, -1);
    const RowTile columns = row_tile(0, a_.width, column, across_, -1);
    return {index / across_ / down_, rows.begin, columns.begin, rows.rows, columns.rows};
  }

  int parts() const { return a_.upscale != 0 ? 4 : 1; }
  bool few_outputs() const { return a_.out_channels <= kFewOutputs; }

  // The weights as rows again, for few_outputs.
  void unpack() {
    float *to = few_;
    for (int part = 0; part < parts(); ++part) {
      const glance_matrix &w = *a_.weights[part];
      for (int64_t o = 0; o < w.rows; ++o) {
        for (int64_t k = 0; k < w.columns; ++k) {
          memcpy(to++, w.panel(0) + k * w.panel_columns + o, sizeof(float));
        }
      }
    }
  }

  void group_norm(int64_t chunks, float *moments);
  void finish_group(int64_t sample, int64_t group, int64_t chunks, const float *moments);
  void make(const Block &b, float *u) const;
  void make_row(const PixelRow &row, int64_t sample) const;
  void convolve(const Block &b, float *u) const;
  void multiply(const Block &b, const float *u, int64_t u_row, int part) const;

  const glance_conv2d_args &a_;
  const TileKernels &tile_;
  const Conv2dKernels &kernels_;
  const int64_t channels_;
  const int64_t rim_;
  // Floats from one pixel of u to the next.
  const int64_t pixel_;
  int64_t across_ = 1;
  int64_t down_ = 1;
  int64_t block_rows_ = 1;
  int64_t block_columns_ = 1;
  int threads_ = 1;
  // GROUP as u = (x - mean) * scale + norm_bias: samples x channels each.
  float *scale_ = nullptr;
  float *mean_ = nullptr;
  // Each part's out_channels x columns.
  float *few_ = nullptr;
};

// moments: for each sample and chunk a row of sums and a row of squares.
void Convolution::group_norm(int64_t chunks, float *moments) {
  const int64_t pixels = a_.height * a_.width;
  const int64_t count = a_.samples * chunks;
  const double work = 4.0 * static_cast<double>(a_.samples * pixels * channels_);
  parallel(threads_worth(work, count), [&](int thread, int threads) {
    for (int64_t i = share_begin(count, thread, threads);
         i < share_begin(count, thread + 1, threads); ++i) {
      const float *sample = floats(a_.x) + i / chunks * pixels * channels_;
      const int64_t first = i % chunks * kMomentPixels;
      float *sum = moments + 2 * i * channels_;
      kernels_.moments(sample + first * channels_, std::min(kMomentPixels, pixels - first),
                       channels_, sample, sum, sum + channels_);
    }
  });
  for (int64_t s = 0; s < a_.samples; ++s) {
    for (int64_t g = 0; g < a_.groups; ++g) finish_group(s, g, chunks, moments);
  }
}

void Convolution::finish_group(int64_t sample, int64_t group, int64_t chunks,
                               const float *moments) {
  const int64_t pixels = a_.height * a_.width;
  const int64_t width = channels_ / a_.groups;
  const float *pivot = floats(a_.x) + sample * pixels * channels_;
  const auto n = static_cast<double>(pixels);
  double mean = 0;
  double square = 0;  // mean of the squares of the distances from the group's first pivot
  const int64_t first = group * width;
  for (int64_t c = first; c < first + width; ++c) {
    double sum = 0;
    double squares = 0;
    for (int64_t i = 0; i < chunks; ++i) {
      const float *row = moments + 2 * (sample * chunks + i) * channels_;
      sum += static_cast<double>(row[c]);
      squares += static_cast<double>(row[channels_ + c]);
    }
    const double offset = static_cast<double>(pivot[c]) - static_cast<double>(pivot[first]);
    mean += offset + sum / n;
    square += (squares + 2 * offset * sum) / n + offset * offset;
  }
  mean /= static_cast<double>(width);
  square /= static_cast<double>(width);
  const double variance = std::max(square - mean * mean, 0.0);
  const double inverse = 1 / std::sqrt(variance + static_cast<double>(a_.epsilon));
  mean += static_cast<double>(pivot[first]);
  for (int64_t c = first; c < first + width; ++c) {
    const double weight =
        a_.norm_weight == nullptr ? 1 : static_cast<double>(floats(a_.norm_weight)[c]);
    scale_[sample * channels_ + c] = static_cast<float>(weight * inverse);
    mean_[sample * channels_ + c] = static_cast<float>(mean);
  }
}

void Convolution::make_row(const PixelRow &row, int64_t sample) const {
  const bool silu = a_.silu != 0;
  switch (a_.norm) {
    case GLANCE_CONV2D_NORM_GROUP:
      return kernels_.channel_norm(row, mean_ + sample * channels_, scale_ + sample * channels_,
                                   floats(a_.norm_bias), silu);
    case GLANCE_CONV2D_NORM_PIXEL:
      return kernels_.pixel_norm(row, floats(a_.norm_weight), floats(a_.norm_bias), a_.epsilon,
                                 silu);
    default:
      break;
  }
  if (silu) return kernels_.silu(row);
  const size_t bytes = static_cast<size_t>(channels_) * sizeof(float);
  if (pixel_ == channels_) {
    memcpy(row.u, row.x, static_cast<size_t>(row.pixels) * bytes);
    return;
  }
  for (int64_t p = 0; p < row.pixels; ++p) {
    memcpy(row.u + p * row.u_stride, row.x + p * channels_, bytes);
  }
}

// Writes u of the block and its rim.
void Convolution::make(const Block &b, float *u) const {
  const int64_t width = b.columns + 2 * rim_;
  const int64_t from = std::max<int64_t>(b.left - rim_, 0);
  const int64_t to = std::min(b.left + b.columns + rim_, a_.width);
  const int64_t before = from - (b.left - rim_);
  const int64_t after = width - before - (to - from);
  const auto zero = [&](float *at, int64_t pixels) {
    memset(at, 0, static_cast<size_t>(pixels * pixel_) * sizeof(float));
  };
  for (int64_t r = 0; r < b.rows + 2 * rim_; ++r) {
    float *row = u + r * width * pixel_;
    const int64_t y = b.top - rim_ + r;
    if (y < 0 || y >= a_.height) {
      zero(row, width);
      continue;
    }
    zero(row, before);
    const float *x = floats(a_.x) + ((b.sample * a_.height + y) * a_.width + from) * channels_;
    make_row({x, to - from, channels_, row + before * pixel_, pixel_}, b.sample);
    zero(row + (width - after) * pixel_, after);
  }
}

void Convolution::convolve(const Block &b, float *u) const {
  if (reads_x()) {
    const float *x = floats(a_.x) + ((b.sample * a_.height + b.top) * a_.width + b.left) * channels_;
    return multiply(b, x, a_.width * channels_, 0);
  }
  make(b, u);
  const int64_t row = (b.columns + 2 * rim_) * pixel_;
  if (a_.upscale == 0) return multiply(b, u, row, 0);
  for (int part = 0; part < 4; ++part) {
    // The first tap of part 2 i + j is i rows and j columns into the rim.
    multiply(b, u + part / 2 * row + part % 2 * pixel_, row, part);
  }
}

// u is at the first tap of the block's first pixel, u_row floats before that of the next row.
void Convolution::multiply(const Block &b, const float *u, int64_t u_row, int part) const {
  const glance_matrix &w = *a_.weights[part];
  const int64_t pixel = reads_x() ? channels_ : pixel_;
  const int64_t side = a_.upscale != 0 ? 2 : a_.kernel;
  const int64_t up = a_.upscale != 0 ? 2 : 1;
  const int64_t y_row = a_.width * up * a_.out_channels;
  const int64_t y_first = ((b.sample * a_.height + b.top) * up + part / 2) * y_row +
                          (b.left * up + part % 2) * a_.out_channels;
  const int64_t tiles = divided_up(b.columns, tile_.rows_f32);
  alignas(64) float sums[kMaxTileRows * kMaxTileColumns];
  TileTerm terms[kTapsMost];
  for (int64_t panel = 0; panel < w.panel_count(); ++panel) {
    const int64_t first = panel * tile_.columns;
    const int used = static_cast<int>(std::min<int64_t>(tile_.columns, w.rows - first));
    const float *bias = a_.bias == nullptr ? nullptr : floats(a_.bias) + first;
    for (int64_t r = 0; r < b.rows; ++r) {
      for (int64_t t = 0; t < tiles; ++t) {
        const RowTile tile = row_tile(0, b.columns, t, tiles, -1);
        const float *at = u + r * u_row + tile.begin * pixel;
        if (few_outputs()) {
          kernels_.few_outputs(at, pixel, u_row, side, channels_,
                               few_ + part * w.rows * w.columns, tile.rows, used, sums);
        } else {
          for (int64_t tap = 0; tap < side * side; ++tap) {
            const float *x = at + tap / side * u_row + tap % side * pixel;
            terms[tap] = {reinterpret_cast<const char *>(x),
                          pixel * static_cast<int64_t>(sizeof(float)),
                          w.panel(panel) + tap * channels_ * tile_.columns, channels_};
          }
          tile_.sums_f32(terms, static_cast<int>(side * side), tile.rows, used, sums);
        }
        const int64_t to = y_first + r * up * y_row + tile.begin * up * a_.out_channels + first;
        kernels_.finish(static_cast<float *>(a_.y) + to, bias,
                        a_.residual == nullptr ? nullptr : floats(a_.residual) + to,
                        up * a_.out_channels, sums, tile.rows, used);
      }
    }
  }
}

}  // namespace

glance_status conv2d_cpu(const glance_conv2d_args &args) noexcept {
  return Convolution(args).run();
}

}  // namespace glance
