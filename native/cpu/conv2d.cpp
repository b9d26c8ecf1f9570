// conv2d on the CPU: matrix products on the register tile.
//
// Formula, shapes: glance/conv2d.h. The picture is cut into blocks of some rows and columns. For
// each, u is made once, with a rim of one pixel and zeros outside the picture, in memory that stays
// in the second-level cache; after that no tap needs a check. So x is read once, with its rim, and
// y is written once.
//
// DIRECT: a tile is up to 14 pixels of a row times a panel of W; each tap is one term of it, whose
// rows of x are the pixels of u shifted by the tap. A panel is read once for all tiles of a block:
// 2 * taps * in * out operations a pixel. WINOGRAD: cpu/conv2d_winograd.cpp.
//
// GROUP's moments are taken first, in chunks of pixels whose sums are added up in order in f64, so
// that they do not depend on the threads. They are of the distances from the sample's first pixel,
// for a mean far from zero would drown the variance.
//
// Measured, a virtual Xeon (AVX-512), GCC 12, November 2026, one core beside other work, group
// norm, SiLU and residual: time of DIRECT / WINOGRAD, least of many in turns in one process, 8 x 8
// x 96 1.9, 16 x 16 x 64 1.6, 32 x 32 x 32 and 64 x 64 x 32 1.4, 64 x 64 x 512 1.8, 256 x 256 x 128
// 1.9; 8 x 8 from 16 to 96 channels 1.5, but 32 x 32 of 8 or 12 channels 0.7, of 24 0.9.
#include "cpu/conv2d.h"

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cmath>
#include <cstring>

#include "core/packed_matrix.h"
#include "core/status.h"
#include "cpu/conv2d_winograd.h"
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

class Convolution {
 public:
  explicit Convolution(const glance_conv2d_args &args)
      : a_(args),
        tile_(tile_kernels()),
        kernels_(GLANCE_PICK_ISA(conv2d_kernels)()),
        channels_(args.in_channels),
        rim_(args.kernel == 3 ? 1 : 0),
        // Not a multiple of 2 KB, for then the pixels of a tile share few sets of the first cache.
        pixel_(channels_ % 512 == 0 ? channels_ + 16 : channels_),
        winograd_(args, tile_, pixel_),
        unit_(winograd() ? winograd_.side() : 1) {}

  glance_status run() noexcept {
    cut();
    const bool group = a_.norm == GLANCE_CONV2D_NORM_GROUP;
    const int64_t per_thread = reads_x() ? 0 : u_floats() + v_floats();
    const int64_t vectors = group ? 2 * a_.samples * channels_ : 0;
    const int64_t chunks = divided_up(a_.height * a_.width, kMomentPixels);
    const int64_t moments = group ? 2 * a_.samples * chunks * channels_ : 0;
    static thread_local Scratch scratch;
    // At least something, for memory of no size may be null.
    const int64_t few = few_outputs() ? a_.out_channels * a_.weights->columns : 0;
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
      for (int64_t i = next++; i < blocks(); i = next++) convolve(block(i), u, u + u_floats());
    });
    return GLANCE_OK;
  }

 private:
  // A single tap without a norm reads x where it is.
  bool reads_x() const {
    return a_.kernel == 1 && a_.norm == GLANCE_CONV2D_NORM_NONE && a_.silu == 0;
  }

  bool winograd() const { return a_.form == GLANCE_CONV2D_FORM_WINOGRAD; }
  bool few_outputs() const { return !winograd() && a_.out_channels <= kFewOutputs; }

  // Of a block, in whole cache lines.
  int64_t u_floats() const {
    return lines((block_rows_ + 2 * rim_) * (block_columns_ + 2 * rim_) * pixel_);
  }
  int64_t v_floats() const { return winograd() ? winograd_.floats() : 0; }
  static int64_t lines(int64_t floats) { return (floats + 15) / 16 * 16; }

  void cut() {
    const int64_t width = divided_up(a_.width, unit_);
    const int64_t height = divided_up(a_.height, unit_);
    const int64_t most = channels_ > kLongPixel ? kLongBlockColumns : kBlockColumns;
    across_ = divided_up(a_.width, most);
    block_columns_ = divided_up(width, across_) * unit_;
    const int64_t row_bytes =
        (block_columns_ + 2 * rim_) * pixel_ * static_cast<int64_t>(sizeof(float));
    const int64_t rows = std::max<int64_t>((kBlockBytes / row_bytes - 2 * rim_) / unit_, 1);
    down_ = divided_up(height, rows);
    const int64_t taps = a_.weights->columns / channels_ / (unit_ * unit_);
    const double work = 2.0 * static_cast<double>(a_.samples * a_.height * a_.width) *
                        static_cast<double>(taps * channels_) *
                        static_cast<double>(a_.out_channels);
    threads_ = threads_worth(work, a_.samples * height);
    // The same number of blocks for each thread where there are few.
    const int64_t strips = a_.samples * across_;
    while (down_ < height && strips * down_ < 8 * threads_ && strips * down_ % threads_ != 0) {
      ++down_;
    }
    block_rows_ = divided_up(height, down_) * unit_;
  }

  int64_t blocks() const { return a_.samples * across_ * down_; }

  Conv2dBlock block(int64_t index) const {
    const int64_t column = index % across_;
    const int64_t row = index / across_ % down_;
    const RowTile rows = row_tile(0, divided_up(a_.height, unit_), row, down_, -1);
    const RowTile columns = row_tile(0, divided_up(a_.width, unit_), column, across_, -1);
    return {index / across_ / down_, rows.begin * unit_, columns.begin * unit_, rows.rows * unit_,
            columns.rows * unit_};
  }

  // The weights as rows again, for few_outputs.
  void unpack() {
    const glance_matrix &w = *a_.weights;
    float *to = few_;
    for (int64_t o = 0; o < w.rows; ++o) {
      for (int64_t k = 0; k < w.columns; ++k) {
        memcpy(to++, w.panel(0) + k * w.panel_columns + o, sizeof(float));
      }
    }
  }

  void group_norm(int64_t chunks, float *moments);
  void finish_group(int64_t sample, int64_t group, int64_t chunks, const float *moments);
  void make(const Conv2dBlock &b, float *u) const;
  void make_row(const PixelRow &row, int64_t sample) const;
  void convolve(const Conv2dBlock &b, float *u, float *v) const;
  void multiply(const Conv2dBlock &b, const float *u, int64_t u_row) const;

  const glance_conv2d_args &a_;
  const TileKernels &tile_;
  const Conv2dKernels &kernels_;
  const int64_t channels_;
  const int64_t rim_;
  // Floats from one pixel of u to the next.
  const int64_t pixel_;
  const Winograd winograd_;
  // A block's rows and columns are a multiple of it.
  const int64_t unit_;
  int64_t across_ = 1;
  int64_t down_ = 1;
  int64_t block_rows_ = 1;
  int64_t block_columns_ = 1;
  int threads_ = 1;
  // GROUP as u = (x - mean) * scale + norm_bias: samples x channels each.
  float *scale_ = nullptr;
  float *mean_ = nullptr;
  // out_channels x columns.
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
void Convolution::make(const Conv2dBlock &b, float *u) const {
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

void Convolution::convolve(const Conv2dBlock &b, float *u, float *v) const {
  if (reads_x()) {
    const float *x = floats(a_.x) + ((b.sample * a_.height + b.top) * a_.width + b.left) * channels_;
    return multiply(b, x, a_.width * channels_);
  }
  make(b, u);
  if (winograd()) return winograd_.convolve(b, u, v);
  multiply(b, u, (b.columns + 2 * rim_) * pixel_);
}

// u is at the first tap of the block's first pixel, u_row floats before that of the next row.
void Convolution::multiply(const Conv2dBlock &b, const float *u, int64_t u_row) const {
  const glance_matrix &w = *a_.weights;
  const int64_t pixel = reads_x() ? channels_ : pixel_;
  const int64_t side = a_.kernel;
  const int64_t y_row = a_.width * a_.out_channels;
  const int64_t y_first = (b.sample * a_.height + b.top) * y_row + b.left * a_.out_channels;
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
          kernels_.few_outputs(at, pixel, u_row, side, channels_, few_, tile.rows, used, sums);
        } else {
          for (int64_t tap = 0; tap < side * side; ++tap) {
            const float *x = at + tap / side * u_row + tap % side * pixel;
            terms[tap] = {reinterpret_cast<const char *>(x),
                          pixel * static_cast<int64_t>(sizeof(float)),
                          w.panel(panel) + tap * channels_ * tile_.columns, channels_};
          }
          tile_.sums_f32(terms, static_cast<int>(side * side), tile.rows, used, sums);
        }
        const int64_t to = y_first + r * y_row + tile.begin * a_.out_channels + first;
        kernels_.finish(static_cast<float *>(a_.y) + to, bias,
                        a_.residual == nullptr ? nullptr : floats(a_.residual) + to,
                        a_.out_channels, sums, tile.rows, used);
      }
    }
  }
}

}  // namespace

glance_status conv2d_cpu(const glance_conv2d_args &args) noexcept {
  return Convolution(args).run();
}

}  // namespace glance
