// A call of glance_lora_linear: its shape, random tensors of that shape, and the struct over them.
#pragma once

#include <glance/lora_linear.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/matrix_handle.h"
#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace glance_test {

struct LinearCase {
  int64_t n = 1;
  bool bias = false;
  glance_epilogue epilogue = GLANCE_EPILOGUE_NONE;
  int64_t rows_per_gate = 1;
  // The residual is y itself.
  bool in_place = false;
  // One of each adapter; 0: the adapter leaves this linear alone.
  std::vector<int64_t> ranks;
};

struct LoraCase {
  glance_dtype dtype = GLANCE_F32;
  int64_t rows = 1;
  int64_t k = 1;
  int64_t gap = 0;
  int64_t offset = 0;
  // Offsets and strides are rounded up to multiples of 8 elements: 16 bytes in the narrow types.
  bool aligned = false;
  int32_t adapters = 0;
  std::vector<LinearCase> linears;
  std::vector<glance_segment> segments;
  // All linears read the same columns of h, in place of columns of their own.
  bool shared_down = false;
  // Columns of h before and after those in use.
  int64_t spare = 0;
  bool given_h = false;
  // Every y is a column range of one matrix.
  bool joined_y = false;

  int64_t rounded_up(int64_t elements) const { return aligned ? (elements + 7) / 8 * 8 : elements; }
  // A tensor of a call, with some multiples of the gap and the offset.
  Buffer buffer(int64_t r, int64_t columns, int64_t gaps = 1, int64_t offsets = 1) const {
    const int64_t stride = rounded_up(columns + gaps * gap);
    return Buffer(dtype, r, columns, stride - columns, rounded_up(offsets * offset));
  }

  // What GLANCE_MATMUL_WGMMA asks for, on a device that has it.
  bool fits_wgmma() const {
    const auto fits = [](const Buffer &b) {
      return reinterpret_cast<uintptr_t>(b.data()) % 16 == 0 && b.stride % 8 == 0;
    };
    return dtype != GLANCE_F32 && fits(buffer(rows, k)) && fits(buffer(1, k, 2));
  }

  int64_t rank(int32_t adapter, size_t linear) const {
    return linears[linear].ranks[static_cast<size_t>(adapter)];
  }
  int64_t first(int32_t adapter, size_t linear) const {
    int64_t first = spare;
    for (size_t g = 0; g < linear && !shared_down; ++g) first += rank(adapter, g);
    return first;
  }
  // R, at least 1.
  int64_t down_rows(int32_t adapter) const {
    int64_t end = 1;
    for (size_t g = 0; g < linears.size(); ++g) {
      end = std::max(end, first(adapter, g) + rank(adapter, g));
    }
    return end + spare;
  }
  int64_t h_columns() const {
    int64_t columns = 1;
    for (int32_t a = 0; a < adapters; ++a) columns = std::max(columns, down_rows(a));
    return columns;
  }
  int32_t adapter_of(int64_t row) const {
    for (const glance_segment &s : segments) {
      if (s.begin <= row && row < s.end) return s.adapter;
    }
    return -1;
  }

  std::string name() const {
    std::string text = std::string(glance_test::name(dtype)) + " rows=" + std::to_string(rows) +
                       " K=" + std::to_string(k) + " gap=" + std::to_string(gap) +
                       " offset=" + std::to_string(offset) + (aligned ? " aligned" : "") +
                       (shared_down ? " shared down" : "") + (given_h ? " given h" : "") +
                       (joined_y ? " joined y" : "") + " spare=" + std::to_string(spare);
    for (const LinearCase &l : linears) {
      text += "\n  linear N=" + std::to_string(l.n) + (l.bias ? " bias" : "") +
              " epilogue=" + std::to_string(l.epilogue) +
              " rows_per_gate=" + std::to_string(l.rows_per_gate) +
              (l.in_place ? " in place" : "") + " ranks";
      for (const int64_t r : l.ranks) text += " " + std::to_string(r);
    }
    text += "\n  segments";
    for (const glance_segment &s : segments) {
      text += " " + std::to_string(s.begin) + "-" + std::to_string(s.end) + ":" +
              std::to_string(s.adapter);
    }
    return text;
  }
};

// The memory a call reads and writes. Weights are scaled so that every term of a sum is of size 1.
struct LoraTensors {
  LoraCase c;
  Buffer x, h;
  std::vector<Buffer> weight, bias, gate, residual, y, down;
  // up[adapter][linear]
  std::vector<std::vector<Buffer>> up;
  std::vector<float> scale;

  LoraTensors(const LoraCase &shape, unsigned seed)
      : c(shape), x(c.buffer(c.rows, c.k)), h(c.buffer(c.rows, c.h_columns())) {
    std::mt19937 random(seed);
    x.fill(random);
    for (const LinearCase &l : c.linears) add_linear(l, random);
    add_outputs();
    for (int32_t a = 0; a < c.adapters; ++a) add_adapter(a, random);
    if (c.given_h) fill_h(random);
  }

  Buffer &y_of(size_t linear) { return c.joined_y ? y[0] : y[linear]; }
  const Buffer &y_of(size_t linear) const { return c.joined_y ? y[0] : y[linear]; }
  int64_t y_column(size_t linear) const {
    int64_t column = 0;
    for (size_t g = 0; g < linear && c.joined_y; ++g)
      column += c.rounded_up(c.linears[g].n + c.gap);
    return column;
  }
  float get_y(size_t linear, int64_t row, int64_t column) const {
    return y_of(linear).get(row, y_column(linear) + column);
  }

 private:
  void add_linear(const LinearCase &l, std::mt19937 &random) {
    weight.push_back(c.buffer(l.n, c.k, 2));
    weight.back().fill(random, 1 / std::sqrt(static_cast<float>(c.k)));
    bias.push_back(c.buffer(1, l.n, 0));
    bias.back().fill(random);
    const int64_t gates = (c.rows + l.rows_per_gate - 1) / l.rows_per_gate;
    gate.push_back(c.buffer(gates, l.n, 3));
    gate.back().fill(random);
    residual.push_back(c.buffer(c.rows, l.n, 1, 2));
    residual.back().fill(random);
  }

  void add_outputs() {
    const size_t count = c.linears.size();
    if (c.joined_y) {
      const int64_t columns = y_column(count - 1) + c.linears.back().n;
      y.push_back(c.buffer(c.rows, columns));
    } else {
      for (const LinearCase &l : c.linears) y.push_back(c.buffer(c.rows, l.n));
    }
    for (size_t g = 0; g < count; ++g) {
      for (int64_t i = 0; i < c.rows && c.linears[g].in_place; ++i) {
        for (int64_t n = 0; n < c.linears[g].n; ++n) {
          y_of(g).set(i, y_column(g) + n, residual[g].get(i, n));
        }
      }
    }
  }

  void add_adapter(int32_t adapter, std::mt19937 &random) {
    down.push_back(c.buffer(c.down_rows(adapter), c.k));
    down.back().fill(random, 1 / std::sqrt(static_cast<float>(c.k)));
    scale.push_back(std::uniform_real_distribution<float>(-2.0f, 2.0f)(random));
    up.emplace_back();
    for (size_t g = 0; g < c.linears.size(); ++g) {
      const int64_t rank = c.rank(adapter, g);
      up.back().push_back(c.buffer(c.linears[g].n, rank));
      up.back().back().fill(random, 1 / std::sqrt(static_cast<float>(std::max<int64_t>(rank, 1))));
    }
  }

  // Rows without an adapter, and columns behind their adapter's, stay poisoned.
  void fill_h(std::mt19937 &random) {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < c.rows; ++i) {
      const int32_t a = c.adapter_of(i);
      for (int64_t j = 0; a >= 0 && j < c.down_rows(a); ++j) h.set(i, j, normal(random));
    }
  }
};

using LoraOperation = glance_status (*)(const glance_lora_linear_args *, void *);

// Runs a call whose struct and linears point into these buffers, with the workspace it asks for.
inline glance_status run_lora_linear(glance_lora_linear_args args,
                                     std::vector<glance_linear> linears,
                                     const std::vector<Buffer *> &buffers,
                                     LoraOperation operation = glance_lora_linear) {
  if (!on_cuda()) return operation(&args, nullptr);
  const Mirror mirror(buffers);
  mirror.place(&args.x, &args.h, &args.adapters.selection);
  for (glance_linear &l : linears) mirror.place(&l.bias, &l.y, &l.gate, &l.residual);
  if (args.linears != nullptr) args.linears = linears.data();
  int64_t bytes = 0;
  // What it refuses, the call itself refuses as well.
  if (glance_lora_linear_workspace(&args, &bytes) != GLANCE_OK) bytes = 0;
  const Workspace workspace(bytes);
  args.workspace = workspace.data();
  args.workspace_bytes = bytes;
  const glance_status status = mirror.done(operation(&args, nullptr));
  EXPECT_TRUE(workspace.guard_untouched()) << "wrote behind its workspace of " << bytes;
  return status;
}

// The struct over the tensors, which must outlive it, with matrices for the device and instruction
// set in use.
class LoraCall {
 public:
  explicit LoraCall(LoraTensors *tensors) : t(*tensors), segments(tensors->c.segments) {
    const LoraCase &c = t.c;
    for (size_t g = 0; g < c.linears.size(); ++g) add_linear(g);
    for (int32_t a = 0; a < c.adapters; ++a) add_adapter(a);
    args.struct_size = sizeof args;
    args.x = t.x.data();
    args.rows = c.rows;
    args.x_stride = t.x.stride;
    args.linears = linears.data();
    args.linear_count = static_cast<int32_t>(linears.size());
    args.ups = ups.empty() ? nullptr : ups.data();
    args.adapters.adapters = adapters.empty() ? nullptr : adapters.data();
    args.adapters.adapter_count = c.adapters;
    args.adapters.segments = segments.empty() ? nullptr : segments.data();
    args.adapters.segment_count = static_cast<int32_t>(segments.size());
    args.h = c.given_h ? t.h.data() : nullptr;
    args.h_stride = t.h.stride;
    args.dtype = c.dtype;
    args.device = device();
    args.matmul = current_matmul();
    // Each of its tiles in some of the cases.
    constexpr int32_t kTileColumns[] = {0, 128, 192, 256};
    if (args.matmul == GLANCE_MATMUL_WGMMA) args.tile_columns = kTileColumns[c.linears[0].n % 4];
  }
  LoraCall(const LoraCall &) = delete;
  LoraCall &operator=(const LoraCall &) = delete;

  // Of what args points to, others are buffers that are not the tensors'.
  glance_status run(const std::vector<Buffer *> &others = {}) const {
    std::vector<Buffer *> all = buffers();
    all.insert(all.end(), others.begin(), others.end());
    return run_lora_linear(args, linears, all);
  }

  // The tensors that are not matrices.
  std::vector<Buffer *> buffers() const {
    std::vector<Buffer *> all = {&t.x, &t.h};
    for (std::vector<Buffer> *some : {&t.bias, &t.gate, &t.residual, &t.y}) {
      for (Buffer &buffer : *some) all.push_back(&buffer);
    }
    return all;
  }

  // What a right call comes to: the code in use may be made for other shapes.
  glance_status expected() const {
    const bool refused = args.matmul == GLANCE_MATMUL_WGMMA && !t.c.fits_wgmma();
    return refused ? GLANCE_UNSUPPORTED : GLANCE_OK;
  }

  // The same rows in a call of their own. begin must be where a gate begins if there are more rows.
  glance_status run_rows(int64_t begin, int64_t end) {
    glance_lora_linear_args part = args;
    std::vector<glance_linear> part_linears = linears;
    std::vector<glance_segment> part_segments;
    for (const glance_segment &s : segments) {
      const int64_t from = std::clamp(s.begin, begin, end);
      const int64_t to = std::clamp(s.end, begin, end);
      part_segments.push_back({from - begin, to - begin, s.adapter, 0});
    }
    for (size_t g = 0; g < linears.size(); ++g) {
      glance_linear &l = part_linears[g];
      l.y = t.y_of(g).at(begin, t.y_column(g));
      if (l.residual != nullptr) {
        l.residual = t.c.linears[g].in_place ? l.y : t.residual[g].at(begin, 0);
        l.gate = t.gate[g].at(begin / l.rows_per_gate, 0);
      }
    }
    part.x = t.x.at(begin, 0);
    part.rows = end - begin;
    part.linears = part_linears.data();
    part.adapters.segments = part_segments.data();
    if (part.h != nullptr) part.h = t.h.at(begin, 0);
    return run_lora_linear(part, part_linears, buffers());
  }

  LoraTensors &t;
  std::vector<MatrixHandle> matrices;
  std::vector<glance_linear> linears;
  std::vector<glance_adapter> adapters;
  std::vector<glance_up> ups;
  std::vector<glance_segment> segments;
  glance_lora_linear_args args = {};

 private:
  const glance_matrix *pack(const Buffer &values) {
    matrices.emplace_back(values);
    return matrices.back().get();
  }

  void add_linear(size_t g) {
    const LinearCase &shape = t.c.linears[g];
    glance_linear l = {};
    l.weight = pack(t.weight[g]);
    l.bias = shape.bias ? t.bias[g].data() : nullptr;
    l.y = t.y_of(g).at(0, t.y_column(g));
    l.y_stride = t.y_of(g).stride;
    l.epilogue = shape.epilogue;
    if (shape.epilogue == GLANCE_EPILOGUE_GATED_RESIDUAL) {
      l.gate = t.gate[g].data();
      l.gate_stride = t.gate[g].stride;
      l.rows_per_gate = shape.rows_per_gate;
      l.residual = shape.in_place ? l.y : t.residual[g].data();
      l.residual_stride = shape.in_place ? l.y_stride : t.residual[g].stride;
    }
    linears.push_back(l);
  }

  void add_adapter(int32_t a) {
    const size_t index = static_cast<size_t>(a);
    adapters.push_back({pack(t.down[index]), t.scale[index], 0});
    for (size_t g = 0; g < t.c.linears.size(); ++g) {
      const bool used = t.c.rank(a, g) > 0;
      ups.push_back({used ? pack(t.up[index][g]) : nullptr, used ? t.c.first(a, g) : 0});
    }
  }
};

// Nothing but the elements of the outputs differs between the two.
inline bool only_outputs_differ(const LoraTensors &before, const LoraTensors &after) {
  std::vector<Buffer> y = before.y;
  for (size_t g = 0; g < before.c.linears.size(); ++g) {
    Buffer &expected = before.c.joined_y ? y[0] : y[g];
    const int64_t column = before.y_column(g);
    const size_t bytes = static_cast<size_t>(before.c.linears[g].n * expected.element_bytes());
    for (int64_t i = 0; i < before.c.rows; ++i) {
      std::memcpy(expected.at(i, column), after.y_of(g).at(i, column), bytes);
    }
  }
  const auto same = [](const std::vector<Buffer> &a, const std::vector<Buffer> &b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Buffer &one, const Buffer &two) { return one.bytes == two.bytes; });
  };
  return same(y, after.y) && before.x.bytes == after.x.bytes && before.h.bytes == after.h.bytes &&
         same(before.bias, after.bias) && same(before.gate, after.gate) &&
         same(before.residual, after.residual);
}

}  // namespace glance_test
