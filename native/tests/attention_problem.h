// A call of glance_attention: its tensors in memory, in either layout, and its struct.
#pragma once

#include <glance/attention.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/support.h"

namespace glance_test {

// How a tensor of [batch, heads, tokens, dim] lies in memory: in that order, or as [batch, tokens,
// heads * dim], columns of a wider matrix.
enum class Layout { heads_outside, tokens_outside };

struct AttentionCase {
  int64_t batch = 1, heads = 1, queries = 1, keys = 1, dim = 1;
  // Elements after each row, and before the first.
  int64_t gap = 0, offset = 0;
  glance_dtype dtype = GLANCE_F32, out_dtype = GLANCE_F32;
  Layout in = Layout::heads_outside, out = Layout::heads_outside;
  float scale = 1.0f;

  std::string name() const {
    return "batch=" + std::to_string(batch) + " heads=" + std::to_string(heads) +
           " queries=" + std::to_string(queries) + " keys=" + std::to_string(keys) +
           " dim=" + std::to_string(dim) + " gap=" + std::to_string(gap) +
           " offset=" + std::to_string(offset) + " dtype=" + glance_test::name(dtype) +
           " out_dtype=" + glance_test::name(out_dtype) +
           " in_layout=" + std::to_string(static_cast<int>(in)) +
           " out_layout=" + std::to_string(static_cast<int>(out)) +
           " scale=" + std::to_string(scale);
  }
};

// A tensor of [batch, heads, tokens, dim].
struct HeadsTensor {
  int64_t heads, tokens, dim;
  Layout layout;
  Buffer buffer;

  HeadsTensor(const AttentionCase &c, glance_dtype dtype, int64_t token_count, Layout where)
      : heads(c.heads),
        tokens(token_count),
        dim(c.dim),
        layout(where),
        buffer(dtype, c.batch * tokens * (where == Layout::heads_outside ? heads : 1),
               dim * (where == Layout::heads_outside ? 1 : heads), c.gap, c.offset) {}

  int64_t row(int64_t b, int64_t h, int64_t t) const {
    return layout == Layout::heads_outside ? (b * heads + h) * tokens + t : b * tokens + t;
  }
  int64_t column(int64_t h, int64_t i) const {
    return layout == Layout::heads_outside ? i : h * dim + i;
  }
  float get(int64_t b, int64_t h, int64_t t, int64_t i) const {
    return buffer.get(row(b, h, t), column(h, i));
  }
  void set(int64_t b, int64_t h, int64_t t, int64_t i, float value) {
    buffer.set(row(b, h, t), column(h, i), value);
  }

  // One head's tokens, side by side.
  std::vector<double> head(int64_t b, int64_t h) const {
    std::vector<double> values;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < dim; ++i) values.push_back(get(b, h, t, i));
    }
    return values;
  }

  int64_t token_stride() const { return buffer.stride; }
  int64_t head_stride() const {
    return layout == Layout::heads_outside ? tokens * buffer.stride : dim;
  }
  int64_t batch_stride() const {
    return tokens * buffer.stride * (layout == Layout::heads_outside ? heads : 1);
  }
};

struct AttentionProblem {
  AttentionCase c;
  HeadsTensor q, k, v, out;
  glance_attention_args args = {};

  AttentionProblem(const AttentionCase &shape, unsigned seed)
      : c(shape),
        q(c, c.dtype, c.queries, c.in),
        k(c, c.dtype, c.keys, c.in),
        v(c, c.dtype, c.keys, c.in),
        out(c, c.out_dtype, c.queries, c.out) {
    std::mt19937 random(seed);
    q.buffer.fill(random);
    k.buffer.fill(random);
    v.buffer.fill(random);
    point();
  }
  AttentionProblem(const AttentionProblem &other)
      : c(other.c), q(other.q), k(other.k), v(other.v), out(other.out) {
    point();
  }
  AttentionProblem &operator=(const AttentionProblem &) = delete;

  glance_status run() const { return glance_attention(&args, nullptr); }

 private:
  void point() {
    args.struct_size = sizeof args;
    args.q = q.buffer.data();
    args.k = k.buffer.data();
    args.v = v.buffer.data();
    args.out = out.buffer.data();
    args.batch = c.batch;
    args.heads = c.heads;
    args.queries = c.queries;
    args.keys = c.keys;
    args.dim = c.dim;
    args.q_batch_stride = q.batch_stride();
    args.q_head_stride = q.head_stride();
    args.q_token_stride = q.token_stride();
    args.kv_batch_stride = k.batch_stride();
    args.kv_head_stride = k.head_stride();
    args.kv_token_stride = k.token_stride();
    args.out_batch_stride = out.batch_stride();
    args.out_head_stride = out.head_stride();
    args.out_token_stride = out.token_stride();
    args.scale = c.scale;
    args.dtype = c.dtype;
    args.out_dtype = c.out_dtype;
  }
};

// What the problem's out becomes; the problem itself is left as it is.
inline AttentionProblem attended(const AttentionProblem &before) {
  AttentionProblem after(before);
  EXPECT_EQ(after.run(), GLANCE_OK) << glance_last_error();
  return after;
}

}  // namespace glance_test
