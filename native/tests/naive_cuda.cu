#include <cmath>
#include <cstdint>

#include "core/packed_matrix.h"
#include "cuda/launch.h"
#include "math/element.h"
#include "tests/device_memory.h"
#include "tests/naive_cuda.h"

namespace glance_test {
namespace {

constexpr int kThreads = 256;

__device__ float load(const void *data, glance_dtype dtype, int64_t i) {
  if (dtype == GLANCE_F32) return static_cast<const float *>(data)[i];
  if (dtype == GLANCE_BF16) return glance::to_f32(static_cast<const glance::bf16 *>(data)[i]);
  return glance::to_f32(static_cast<const glance::f16 *>(data)[i]);
}

__device__ void store(void *data, glance_dtype dtype, int64_t i, float value) {
  if (dtype == GLANCE_F32) {
    static_cast<float *>(data)[i] = value;
  } else if (dtype == GLANCE_BF16) {
    static_cast<glance::bf16 *>(data)[i] = glance::to_bf16(value);
  } else {
    static_cast<glance::f16 *>(data)[i] = glance::to_f16(value);
  }
}

__device__ float rounded(glance_dtype dtype, float value) {
  if (dtype == GLANCE_F32) return value;
  return dtype == GLANCE_BF16 ? glance::to_f32(glance::to_bf16(value))
                              : glance::to_f32(glance::to_f16(value));
}

// This thread's number in the grid.
__device__ int64_t element() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }

template <typename Arguments>
void run(void (*kernel)(Arguments), int64_t elements, const Arguments &arguments) {
  if (elements == 0) return;
  glance::LaunchShape shape;
  shape.grid = dim3(static_cast<unsigned>((elements + kThreads - 1) / kThreads));
  shape.block = dim3(kThreads);
  // Its error is also the runtime's last.
  static_cast<void>(glance::launch(shape, nullptr, kernel, arguments));
}

// Device memory for f32 values, until the scope ends; freeing it waits for the device.
class Scratch {
 public:
  explicit Scratch(int64_t values)
      : memory_(device_allocate(static_cast<size_t>(values) * sizeof(float))) {}
  ~Scratch() { device_free(memory_); }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;

  void *data() const { return memory_; }

 private:
  void *memory_;
};

// --- flow_step ---

__global__ void flow_step(const glance_flow_step_args a) {
  if (element() >= a.rows * a.columns) return;
  const int64_t row = element() / a.columns;
  const int64_t column = element() % a.columns;
  const float sigma = a.schedule != nullptr ? a.schedule[0] : a.sigma;
  const float sigma_next = a.schedule != nullptr ? a.schedule[1] : a.sigma_next;
  const float scale = a.schedule != nullptr ? a.schedule[2] : a.cfg_scale;
  const glance_dtype each = a.rounding == GLANCE_ROUND_EACH ? a.velocity_dtype : GLANCE_F32;
  const auto positive = [&](int64_t c) {
    return load(a.v_pos, a.velocity_dtype, row * a.v_pos_stride + c);
  };
  const auto combined = [&](int64_t c) {
    const float negative = load(a.v_neg, a.velocity_dtype, row * a.v_neg_stride + c);
    const float difference = rounded(each, positive(c) - negative);
    return rounded(each, negative + rounded(each, scale * difference));
  };
  float v = a.cfg_mode == GLANCE_CFG_NONE ? positive(column) : combined(column);
  if (a.cfg_mode == GLANCE_CFG_RESCALED) {
    float positive_squares = 0, combined_squares = 0;
    for (int64_t c = 0; c < a.columns; ++c) {
      positive_squares += positive(c) * positive(c);
      combined_squares += combined(c) * combined(c);
    }
    const float ratio =
        rounded(each, sqrtf(positive_squares)) / rounded(each, sqrtf(combined_squares));
    if (combined_squares != 0) v = rounded(each, v * rounded(each, ratio));
  }
  const int64_t i = row * a.latents_stride + column;
  const float next = load(a.latents, a.latents_dtype, i) + rounded(each, (sigma_next - sigma) * v);
  store(a.latents, a.latents_dtype, i, next);
  if (a.latents_bf16 != nullptr) {
    store(a.latents_bf16, GLANCE_BF16, row * a.latents_bf16_stride + column, next);
  }
}

// --- gated_residual ---

__global__ void gated_residual(const glance_gated_residual_args a) {
  if (element() >= a.rows * a.columns) return;
  const int64_t row = element() / a.columns;
  const int64_t column = element() % a.columns;
  const float residual = load(a.residual, a.dtype, row * a.residual_stride + column);
  const float update = load(a.update, a.dtype, row * a.update_stride + column);
  const float gate = load(a.gate, a.dtype, row / a.rows_per_gate * a.gate_stride + column);
  store(a.y, a.dtype, row * a.y_stride + column, residual + gate * update);
}

// --- modulated_norm ---

__global__ void modulated_norm(const glance_modulated_norm_args a) {
  if (element() >= a.rows * a.columns) return;
  const int64_t row = element() / a.columns;
  const int64_t column = element() % a.columns;
  const float count = static_cast<float>(a.columns);
  float mean = 0;
  for (int64_t c = 0; a.norm == GLANCE_NORM_LAYER && c < a.columns; ++c) {
    mean += load(a.x, a.dtype, row * a.x_stride + c) / count;
  }
  float variance = 0;
  for (int64_t c = 0; c < a.columns; ++c) {
    const float distance = load(a.x, a.dtype, row * a.x_stride + c) - mean;
    variance += distance * distance / count;
  }
  float y = (load(a.x, a.dtype, row * a.x_stride + column) - mean) / sqrtf(variance + a.epsilon);
  if (a.scale != nullptr) {
    y *= 1 + load(a.scale, a.dtype, row / a.rows_per_group * a.scale_stride + column);
  }
  if (a.shift != nullptr) {
    y += load(a.shift, a.dtype, row / a.rows_per_group * a.shift_stride + column);
  }
  store(a.y, a.dtype, row * a.y_stride + column, y);
}

// --- qk_norm_rope ---

// Of q, k and, if there is one, v in turn.
__global__ void qk_norm_rope(const glance_qk_norm_rope_args a) {
  const int64_t elements = a.batch * a.tokens * a.heads * a.dim;
  if (element() >= (a.v != nullptr ? 3 : 2) * elements) return;
  const int64_t which = element() / elements;
  const int64_t i = element() % a.dim;
  const int64_t head = element() / a.dim % a.heads;
  const int64_t token = element() / (a.dim * a.heads) % a.tokens;
  const int64_t batch = element() / (a.dim * a.heads * a.tokens) % a.batch;
  const int64_t in = batch * a.in_batch_stride + token * a.in_token_stride + head * a.dim;
  const int64_t out =
      batch * a.out_batch_stride + head * a.out_head_stride + token * a.out_token_stride + i;
  if (which == 2) {
    store(a.v_out, a.out_dtype, out, load(a.v, a.dtype, in + i));
    return;
  }
  const void *x = which == 0 ? a.q : a.k;
  const void *weight = which == 0 ? a.q_weight : a.k_weight;
  float squares = 0;
  for (int64_t c = 0; c < a.dim; ++c) {
    squares += load(x, a.dtype, in + c) * load(x, a.dtype, in + c);
  }
  const float root = sqrtf(squares / static_cast<float>(a.dim) + a.epsilon);
  const int64_t even = i / 2 * 2;
  const float first = load(x, a.dtype, in + even) / root * load(weight, a.dtype, even);
  const float second = load(x, a.dtype, in + even + 1) / root * load(weight, a.dtype, even + 1);
  const float cos = a.rotation[token * a.dim + even];
  const float sin = a.rotation[token * a.dim + even + 1];
  const float turned = i == even ? first * cos - second * sin : first * sin + second * cos;
  store(which == 0 ? a.q_out : a.k_out, a.out_dtype, out, turned);
}

// --- Products of matrices ---

struct View {
  const void *data;
  glance_dtype dtype;
  int64_t row_stride;
  int64_t column_stride;
};

View view(const glance_matrix &m) { return {m.data, m.dtype, m.row_stride, m.column_stride}; }

View transposed(const View &v) { return {v.data, v.dtype, v.column_stride, v.row_stride}; }

View rows_from(const View &v, int64_t row) {
  const int64_t bytes = row * v.row_stride * (v.dtype == GLANCE_F32 ? 4 : 2);
  return {static_cast<const char *>(v.data) + bytes, v.dtype, v.row_stride, v.column_stride};
}

View columns_from(const View &v, int64_t column) {
  return transposed(rows_from(transposed(v), column));
}

__device__ float at(const View &v, int64_t row, int64_t column) {
  return load(v.data, v.dtype, row * v.row_stride + column * v.column_stride);
}

// out = epilogue(factor * (a b + a2 b2) + bias), rows x columns, over inner and inner2.
struct Product {
  View out;
  int64_t rows;
  int64_t columns;
  float factor = 1;
  View a, b;
  int64_t inner;
  View a2 = {}, b2 = {};
  int64_t inner2 = 0;
  // Added to what out holds.
  bool accumulate = false;
  const void *bias = nullptr;
  glance_epilogue epilogue = GLANCE_EPILOGUE_NONE;
  View gate = {};
  int64_t rows_per_gate = 1;
  // The row of the whole call that row 0 is.
  int64_t first_row = 0;
  View residual = {};
};

__global__ void product(const Product p) {
  if (element() >= p.rows * p.columns) return;
  const int64_t row = element() / p.columns;
  const int64_t column = element() % p.columns;
  float sum = 0;
  for (int64_t k = 0; k < p.inner; ++k) sum += at(p.a, row, k) * at(p.b, k, column);
  for (int64_t k = 0; k < p.inner2; ++k) sum += at(p.a2, row, k) * at(p.b2, k, column);
  float s = p.factor * sum;
  if (p.bias != nullptr) s += load(p.bias, p.a.dtype, column);
  if (p.epilogue == GLANCE_EPILOGUE_GELU_TANH) {
    s = s / 2 * (1 + tanhf(0.7978845608f * (s + 0.044715f * s * s * s)));
  } else if (p.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
    const int64_t gate = (p.first_row + row) / p.rows_per_gate;
    s = at(p.residual, row, column) + at(p.gate, gate, column) * s;
  }
  if (p.accumulate) s += at(p.out, row, column);
  store(const_cast<void *>(p.out.data), p.out.dtype,
        row * p.out.row_stride + column * p.out.column_stride, s);
}

void run(const Product &p) { run(product, p.rows * p.columns, p); }

// The adapter that a segment's rows get, or -1.
int32_t adapter_of(const glance_adapter_table &table, const glance_segment &segment) {
  if (segment.adapter < 0 || table.selection == nullptr) return segment.adapter;
  int32_t selected;
  download(&selected, table.selection + segment.adapter, sizeof selected);
  return selected;
}

// h = scale * (x A^T), of every row its own adapter's.
void down(const glance_adapter_table &table, const View &x, const View &h) {
  for (int32_t i = 0; i < table.segment_count; ++i) {
    const glance_segment &s = table.segments[i];
    const int32_t adapter = adapter_of(table, s);
    if (adapter < 0) continue;
    const glance_adapter &of = table.adapters[adapter];
    Product p;
    p.out = rows_from(h, s.begin);
    p.rows = s.end - s.begin;
    p.columns = of.down->rows;
    p.factor = of.scale;
    p.a = rows_from(x, s.begin);
    p.b = transposed(view(*of.down));
    p.inner = of.down->columns;
    run(p);
  }
}

// One linear, in the rows of one segment.
void linear(const glance_lora_linear_args &args, int32_t index, const View &h,
            const glance_segment &rows) {
  const glance_linear &l = args.linears[index];
  const View y = {l.y, args.dtype, l.y_stride, 1};
  const View x = {args.x, args.dtype, args.x_stride, 1};
  Product p;
  p.out = rows_from(y, rows.begin);
  p.rows = rows.end - rows.begin;
  p.columns = l.weight->rows;
  p.a = rows_from(x, rows.begin);
  p.b = transposed(view(*l.weight));
  p.inner = l.weight->columns;
  const int32_t adapter = rows.adapter < 0 ? -1 : adapter_of(args.adapters, rows);
  if (adapter >= 0) {
    const glance_up &up = args.ups[adapter * args.linear_count + index];
    if (up.up != nullptr) {
      p.a2 = columns_from(rows_from(h, rows.begin), up.first);
      p.b2 = transposed(view(*up.up));
      p.inner2 = up.up->columns;
    }
  }
  p.bias = l.bias;
  p.epilogue = l.epilogue;
  if (l.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
    p.gate = {l.gate, args.dtype, l.gate_stride, 1};
    p.rows_per_gate = l.rows_per_gate;
    p.first_row = rows.begin;
    p.residual = rows_from({l.residual, args.dtype, l.residual_stride, 1}, rows.begin);
  }
  run(p);
}

}  // namespace

void naive_flow_step(const glance_flow_step_args &args) {
  run(flow_step, args.rows * args.columns, args);
}

void naive_gated_residual(const glance_gated_residual_args &args) {
  run(gated_residual, args.rows * args.columns, args);
}

void naive_modulated_norm(const glance_modulated_norm_args &args) {
  run(modulated_norm, args.rows * args.columns, args);
  if (args.h == nullptr) return;
  down(args.adapters, {args.y, args.dtype, args.y_stride, 1},
       {args.h, args.dtype, args.h_stride, 1});
}

void naive_qk_norm_rope(const glance_qk_norm_rope_args &args) {
  const int64_t elements = args.batch * args.tokens * args.heads * args.dim;
  run(qk_norm_rope, (args.v != nullptr ? 3 : 2) * elements, args);
}

void naive_lora_linear(const glance_lora_linear_args &args) {
  int64_t columns = 1;
  for (int32_t i = 0; i < args.adapters.adapter_count; ++i) {
    const int64_t r = args.adapters.adapters[i].down->rows;
    columns = r > columns ? r : columns;
  }
  const Scratch scratch(args.rows * columns);
  View h = {args.h, args.dtype, args.h_stride, 1};
  if (args.h == nullptr) {
    h = {scratch.data(), args.dtype, columns, 1};
    down(args.adapters, {args.x, args.dtype, args.x_stride, 1}, h);
  }
  for (int32_t g = 0; g < args.linear_count; ++g) {
    if (args.adapters.adapter_count == 0) linear(args, g, h, {0, args.rows, -1, 0});
    for (int32_t i = 0; i < args.adapters.segment_count; ++i) {
      linear(args, g, h, args.adapters.segments[i]);
    }
  }
}

void naive_lora_linear_backward(const glance_lora_linear_backward_args &args) {
  const View x = {args.x, args.dtype, args.x_stride, 1};
  const View dy = {args.dy, args.dtype, args.dy_stride, 1};
  const View a = {args.down, args.dtype, args.down_stride, 1};
  const View b = {args.up, args.dtype, args.up_stride, 1};
  const Scratch g_memory(args.rows * args.rank), h_memory(args.rows * args.rank);
  const View g = {g_memory.data(), GLANCE_F32, args.rank, 1};
  const View h = {h_memory.data(), GLANCE_F32, args.rank, 1};
  const bool add = args.accumulate != 0;
  // g = scale * (dy B); h = x A^T.
  run({g, args.rows, args.rank, args.scale, dy, b, args.out_features});
  run({h, args.rows, args.rank, 1, x, transposed(a), args.in_features});
  if (args.dx != nullptr) {
    const View dx = {args.dx, args.dtype, args.dx_stride, 1};
    const View w = transposed(view(*args.weight_transposed));
    run({dx, args.rows, args.in_features, 1, dy, w, args.out_features, g, a, args.rank});
  }
  if (args.d_down != nullptr) {
    const View d_down = {args.d_down, GLANCE_F32, args.d_down_stride, 1};
    run({d_down, args.rank, args.in_features, 1, transposed(g), x, args.rows, {}, {}, 0, add});
  }
  if (args.d_up != nullptr) {
    const View d_up = {args.d_up, GLANCE_F32, args.d_up_stride, 1};
    run({d_up,
         args.out_features,
         args.rank,
         args.scale,
         transposed(dy),
         h,
         args.rows,
         {},
         {},
         0,
         add});
  }
}

}  // namespace glance_test
