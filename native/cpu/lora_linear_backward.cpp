// lora_linear_backward on the CPU. dx is a LoRA linear itself, of dy, with W^T for its weight, B^T
// for its A and A^T for its B. dA and dB are products over rows: g^T x and (x A^T)^T dy.
#include "cpu/lora_linear_backward.h"

#include <algorithm>
#include <cinttypes>
#include <cstdlib>

#include "core/packed_matrix.h"
#include "core/status.h"
#include "cpu/down_projection.h"
#include "cpu/isa.h"
#include "cpu/lora_linear.h"
#include "cpu/pack.h"
#include "cpu/row_products.h"
#include "cpu/threads.h"
#include "cpu/tile.h"

namespace glance {
namespace {

// Columns that one thread takes at a time: several tiles of every instruction set.
constexpr int64_t kColumnBlock = 64;

// A matrix packed for one call. A and B change with every training step, and are small.
struct Packed {
  glance_matrix matrix{};
  ~Packed() { std::free(matrix.panels); }

  glance_status pack(const void *data, int64_t rows, int64_t columns, int64_t row_stride,
                     int64_t column_stride, glance_dtype dtype) noexcept {
    const glance_matrix_args args = {sizeof args,   data,  rows,       columns, row_stride,
                                     column_stride, dtype, GLANCE_CPU, 0,       0};
    matrix.rows = rows;
    matrix.columns = columns;
    matrix.dtype = dtype;
    return pack_cpu(args, matrix);
  }
};

class Backward {
 public:
  explicit Backward(const glance_lora_linear_backward_args &args) : a_(args) {}
  ~Backward() { std::free(projected_); }
  Backward(const Backward &) = delete;
  Backward &operator=(const Backward &) = delete;

  glance_status run() noexcept {
    glance_status status = make_workspace();
    if (status == GLANCE_OK && a_.dx != nullptr) status = input_gradient();
    if (status != GLANCE_OK) return status;
    if (a_.d_down != nullptr) down_gradient();
    if (a_.d_up != nullptr) up_gradient();
    return GLANCE_OK;
  }

 private:
  // All of it before anything is written.
  glance_status make_workspace() noexcept {
    glance_status status = GLANCE_OK;
    if (a_.dx != nullptr || a_.d_down != nullptr) {
      status = up_.pack(a_.up, a_.rank, a_.out_features, 1, a_.up_stride, a_.dtype);
    }
    if (status == GLANCE_OK && a_.dx != nullptr) {
      status = down_transposed_.pack(a_.down, a_.in_features, a_.rank, 1, a_.down_stride, a_.dtype);
    }
    if (status == GLANCE_OK && a_.d_up != nullptr) {
      status = down_.pack(a_.down, a_.rank, a_.in_features, a_.down_stride, 1, a_.dtype);
    }
    if (status != GLANCE_OK || (a_.d_down == nullptr && a_.d_up == nullptr)) return status;
    const int64_t bytes = a_.rows * a_.rank * static_cast<int64_t>(sizeof(float));
    projected_ = static_cast<float *>(std::malloc(static_cast<size_t>(bytes)));
    if (projected_ != nullptr) return GLANCE_OK;
    return fail(GLANCE_OUT_OF_MEMORY,
                "lora_linear_backward: no memory for %" PRId64 " bytes of workspace", bytes);
  }

  // dx = dy W + g A. If this fails, for want of memory, it has written nothing.
  glance_status input_gradient() noexcept {
    const glance_adapter adapter = {&up_.matrix, a_.scale, 0};
    const glance_segment segment = {0, a_.rows, 0, 0};
    const glance_up up = {&down_transposed_.matrix, 0};
    glance_linear linear = {};
    linear.weight = a_.weight_transposed;
    linear.y = a_.dx;
    linear.y_stride = a_.dx_stride;
    glance_lora_linear_args call = {};
    call.struct_size = sizeof call;
    call.x = a_.dy;
    call.rows = a_.rows;
    call.x_stride = a_.dy_stride;
    call.linears = &linear;
    call.ups = &up;
    call.adapters = {&adapter, &segment, 1, 1, nullptr};
    call.linear_count = 1;
    call.dtype = a_.dtype;
    return lora_linear_cpu(call);
  }

  // dA = g^T x
  void down_gradient() noexcept {
    RowProducts products = {};
    products.q = a_.x;
    products.q_stride = a_.x_stride;
    products.out = a_.d_down;
    products.out_i_stride = a_.d_down_stride;
    products.out_j_stride = 1;
    multiply(up_, a_.dy, a_.dy_stride, a_.in_features, products);
  }

  // dB^T = scale * (x A^T)^T dy
  void up_gradient() noexcept {
    RowProducts products = {};
    products.q = a_.dy;
    products.q_stride = a_.dy_stride;
    products.out = a_.d_up;
    products.out_i_stride = 1;
    products.out_j_stride = a_.d_up_stride;
    multiply(down_, a_.x, a_.x_stride, a_.out_features, products);
  }

  // Projects rows down to the rank, in f32, and multiplies the result with columns of products.q.
  void multiply(const Packed &projection, const void *rows, int64_t stride, int64_t columns,
                RowProducts &products) noexcept {
    project_f32(projection.matrix, rows, stride, a_.rows, projected_);
    products.p = projected_;
    products.rows = a_.rows;
    products.p_columns = a_.rank;
    products.scale = a_.scale;
    products.accumulate = a_.accumulate != 0;
    products.dtype = a_.dtype;
    share_columns(products, columns);
  }

  void share_columns(const RowProducts &products, int64_t columns) noexcept {
    const int64_t blocks = (columns + kColumnBlock - 1) / kColumnBlock;
    const double work = 2.0 * static_cast<double>(a_.rows) * static_cast<double>(a_.rank) *
                        static_cast<double>(columns);
    parallel(threads_worth(work, blocks), [&](int thread, int threads) {
      RowProducts part = products;
      part.begin = share_begin(blocks, thread, threads) * kColumnBlock;
      part.end = std::min(columns, share_begin(blocks, thread + 1, threads) * kColumnBlock);
      GLANCE_PICK_ISA(row_products)(part);
    });
  }

  const glance_lora_linear_backward_args &a_;
  Packed up_;               // B^T, rank x N
  Packed down_transposed_;  // A^T, K x rank
  Packed down_;             // A, rank x K
  float *projected_ = nullptr;
};

}  // namespace

glance_status lora_linear_backward_cpu(const glance_lora_linear_backward_args &args) noexcept {
  return Backward(args).run();
}

}  // namespace glance
