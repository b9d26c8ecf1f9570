// Every operation on CUDA against its naive version, at the sizes of a model where there is a
// device: what float64 on the CPU takes too long for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/float64.h"
#include "tests/lora_backward_problem.h"
#include "tests/lora_problem.h"
#include "tests/matrix_handle.h"
#include "tests/mirror.h"
#include "tests/naive_cuda.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::BackwardCall;
using glance_test::BackwardCase;
using glance_test::BackwardTensors;
using glance_test::Buffer;
using glance_test::emulated;
using glance_test::LoraCall;
using glance_test::LoraCase;
using glance_test::LoraTensors;
using glance_test::MatrixHandle;
using glance_test::Mirror;

// Two results that may both be right: as a whole, and in no element off by much more.
testing::AssertionResult alike(const Buffer &got, const Buffer &want, glance_dtype computed) {
  double errors = 0, squares = 0;
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.columns; ++c) {
      const double value = want.get(r, c);
      errors += std::pow(got.get(r, c) - value, 2);
      squares += value * value;
    }
  }
  const double limit = glance_test::relative_limit(computed);
  if (!(errors <= std::pow(2 * limit, 2) * squares)) {
    return testing::AssertionFailure() << "relative error " << std::sqrt(errors / squares);
  }
  const double size = std::sqrt(squares / static_cast<double>(got.rows * got.columns));
  for (int64_t r = 0; r < got.rows; ++r) {
    for (int64_t c = 0; c < got.columns; ++c) {
      const double value = want.get(r, c);
      const double error = std::fabs(got.get(r, c) - value);
      if (error <= 5 * limit * (std::fabs(value) + size)) continue;
      return testing::AssertionFailure() << "at " << r << "," << c << ": " << got.get(r, c)
                                         << ", the naive version says " << value;
    }
  }
  return testing::AssertionSuccess();
}

// Whatever the naive version does is done.
template <typename Args, void (*kOperation)(const Args &)>
glance_status naive(const Args *args, void *) {
  kOperation(*args);
  return GLANCE_OK;
}

class Naive : public testing::Test {
 protected:
  void SetUp() override {
    if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  }

  unsigned seed_ = glance_test::first_seed();
};

void check_lora_linear(const LoraCase &c, unsigned seed) {
  const LoraTensors before(c, seed);
  LoraTensors want(before);
  const LoraCall plain(&want);
  ASSERT_EQ(
      glance_test::run_lora_linear(plain.args, plain.linears, plain.buffers(),
                                   naive<glance_lora_linear_args, glance_test::naive_lora_linear>),
      GLANCE_OK);
  for (const glance_test::Variant &variant : glance_test::matmul_variants()) {
    SCOPED_TRACE(glance_test::name(variant) + " seed=" + std::to_string(seed) + " " + c.name());
    const glance_test::UseVariant use(variant);
    LoraTensors got(before);
    const LoraCall call(&got);
    ASSERT_EQ(call.run(), call.expected()) << glance_last_error();
    for (size_t g = 0; g < got.y.size() && call.expected() == GLANCE_OK; ++g) {
      ASSERT_TRUE(alike(got.y[g], want.y[g], c.dtype)) << "linear " << g;
    }
  }
}

LoraCase lora_case(int64_t rows, int64_t k, const std::vector<int64_t> &widths, int64_t rank) {
  LoraCase c;
  c.rows = rows;
  c.k = k;
  c.adapters = 2;
  const int64_t border = rows * 2 / 3;
  c.segments = {{0, border, 0, 0}, {border, rows, 1, 0}};
  for (const int64_t n : widths) {
    c.linears.push_back({n, true, GLANCE_EPILOGUE_NONE, 1, false, {rank, rank}});
  }
  return c;
}

TEST_F(Naive, LoraLinear) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    LoraCase c = emulated() ? lora_case(150, 136, {264}, 16) : lora_case(1024, 3072, {3072}, 16);
    c.dtype = dtype;
    check_lora_linear(c, ++seed_);
    if (HasFatalFailure() || emulated()) continue;
    c = lora_case(512, 1024, {1024, 1024, 1024}, 64);
    c.dtype = dtype;
    c.linears[1].epilogue = GLANCE_EPILOGUE_GELU_TANH;
    check_lora_linear(c, ++seed_);
    c = lora_case(500, 12288, {3072}, 32);
    c.dtype = dtype;
    c.linears[0].epilogue = GLANCE_EPILOGUE_GATED_RESIDUAL;
    c.linears[0].rows_per_gate = 250;
    check_lora_linear(c, ++seed_);
  }
}

// All rows of an image of 1024 x 1024 pixels and its text.
TEST_F(Naive, LoraLinearOfAnImage) {
  if (emulated()) GTEST_SKIP() << "too large for the emulator";
  LoraCase c = lora_case(4608, 3072, {3072}, 16);
  c.dtype = GLANCE_BF16;
  check_lora_linear(c, ++seed_);
}

TEST_F(Naive, LoraLinearBackward) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    BackwardCase c;
    c.dtype = dtype;
    c.rows = emulated() ? 140 : 1024;
    c.k = emulated() ? 72 : 3072;
    c.n = emulated() ? 136 : 2048;
    c.rank = 16;
    c.accumulate = true;
    SCOPED_TRACE(c.name() + " seed=" + std::to_string(++seed_));
    const BackwardTensors before(c, seed_);
    BackwardTensors want(before), got(before);
    ASSERT_EQ(BackwardCall(&want).run(
                  naive<glance_lora_linear_backward_args, glance_test::naive_lora_linear_backward>),
              GLANCE_OK);
    ASSERT_EQ(BackwardCall(&got).run(), GLANCE_OK) << glance_last_error();
    EXPECT_TRUE(alike(got.dx, want.dx, dtype)) << "dx";
    EXPECT_TRUE(alike(got.d_down, want.d_down, dtype)) << "d_down";
    EXPECT_TRUE(alike(got.d_up, want.d_up, dtype)) << "d_up";
  }
}

Buffer random_buffer(glance_dtype dtype, int64_t rows, int64_t columns, std::mt19937 &random) {
  Buffer buffer(dtype, rows, columns);
  buffer.fill(random);
  return buffer;
}

// Both versions of an operation on buffers of the same contents; each mode of guidance.
TEST_F(Naive, FlowStep) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    for (glance_cfg_mode mode = GLANCE_CFG_NONE; mode <= GLANCE_CFG_RESCALED; ++mode) {
      SCOPED_TRACE(glance_test::name(dtype) + (" seed=" + std::to_string(++seed_)));
      std::mt19937 random(seed_);
      const int64_t rows = emulated() ? 70 : 4096;
      Buffer got = random_buffer(dtype, rows, 64, random), want = got;
      Buffer positive = random_buffer(dtype, rows, 64, random);
      Buffer negative = random_buffer(dtype, rows, 64, random);
      const auto run = [&](Buffer &latents, auto operation) {
        glance_flow_step_args args = {};
        args.struct_size = sizeof args;
        args.latents = latents.data();
        args.v_pos = positive.data();
        args.v_neg = mode == GLANCE_CFG_NONE ? nullptr : negative.data();
        args.rows = rows;
        args.columns = 64;
        args.latents_stride = args.v_pos_stride = args.v_neg_stride = 64;
        args.latents_dtype = args.velocity_dtype = dtype;
        args.cfg_mode = mode;
        args.cfg_scale = 3.5f;
        args.sigma = 0.9f;
        args.sigma_next = 0.7f;
        args.device = GLANCE_CUDA;
        const Mirror mirror({&latents, &positive, &negative});
        mirror.place(&args.latents, &args.v_pos, &args.v_neg);
        return mirror.done(operation(&args, nullptr));
      };
      ASSERT_EQ(run(want, naive<glance_flow_step_args, glance_test::naive_flow_step>), GLANCE_OK);
      ASSERT_EQ(run(got, glance_flow_step), GLANCE_OK) << glance_last_error();
      EXPECT_TRUE(alike(got, want, dtype));
    }
  }
}

TEST_F(Naive, GatedResidual) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    SCOPED_TRACE(glance_test::name(dtype) + (" seed=" + std::to_string(++seed_)));
    std::mt19937 random(seed_);
    const int64_t rows = emulated() ? 70 : 4608;
    const int64_t columns = emulated() ? 192 : 3072;
    Buffer residual = random_buffer(dtype, rows, columns, random);
    Buffer update = random_buffer(dtype, rows, columns, random);
    Buffer gate = random_buffer(dtype, 2, columns, random);
    Buffer got(dtype, rows, columns), want(dtype, rows, columns);
    const auto run = [&](Buffer &y, auto operation) {
      glance_gated_residual_args args = {};
      args.struct_size = sizeof args;
      args.residual = residual.data();
      args.update = update.data();
      args.gate = gate.data();
      args.y = y.data();
      args.rows = rows;
      args.columns = columns;
      args.residual_stride = args.update_stride = args.gate_stride = args.y_stride = columns;
      args.rows_per_gate = rows / 2;
      args.dtype = dtype;
      args.device = GLANCE_CUDA;
      const Mirror mirror({&residual, &update, &gate, &y});
      mirror.place(&args.residual, &args.update, &args.gate, &args.y);
      return mirror.done(operation(&args, nullptr));
    };
    ASSERT_EQ(run(want, naive<glance_gated_residual_args, glance_test::naive_gated_residual>),
              GLANCE_OK);
    ASSERT_EQ(run(got, glance_gated_residual), GLANCE_OK) << glance_last_error();
    EXPECT_TRUE(alike(got, want, dtype));
  }
}

// With the down-projection of two adapters of one rank.
TEST_F(Naive, ModulatedNorm) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    SCOPED_TRACE(glance_test::name(dtype) + (" seed=" + std::to_string(++seed_)));
    std::mt19937 random(seed_);
    const int64_t rows = emulated() ? 70 : 4608;
    const int64_t columns = emulated() ? 192 : 3072;
    const int64_t rank = emulated() ? 16 : 48;
    Buffer x = random_buffer(dtype, rows, columns, random);
    Buffer scale = random_buffer(dtype, 2, columns, random);
    Buffer shift = random_buffer(dtype, 2, columns, random);
    const MatrixHandle first(random_buffer(dtype, rank, columns, random));
    const MatrixHandle second(random_buffer(dtype, rank, columns, random));
    const glance_adapter adapters[] = {{first.get(), 0.5f, 0}, {second.get(), -1.5f, 0}};
    const glance_segment segments[] = {{0, rows / 3, 1, 0}, {rows / 3, rows, 0, 0}};
    Buffer got(dtype, rows, columns), want(dtype, rows, columns);
    Buffer got_h(dtype, rows, rank), want_h(dtype, rows, rank);
    const auto run = [&](Buffer &y, Buffer &h, auto operation) {
      glance_modulated_norm_args args = {};
      args.struct_size = sizeof args;
      args.x = x.data();
      args.y = y.data();
      args.scale = scale.data();
      args.shift = shift.data();
      args.h = h.data();
      args.rows = rows;
      args.columns = columns;
      args.x_stride = args.y_stride = args.scale_stride = args.shift_stride = columns;
      args.rows_per_group = rows / 2;
      args.h_stride = rank;
      args.adapters = {adapters, segments, 2, 2, nullptr};
      args.epsilon = 1e-6f;
      args.norm = GLANCE_NORM_LAYER;
      args.dtype = dtype;
      args.device = GLANCE_CUDA;
      const Mirror mirror({&x, &y, &scale, &shift, &h});
      mirror.place(&args.x, &args.y, &args.scale, &args.shift, &args.h);
      return mirror.done(operation(&args, nullptr));
    };
    ASSERT_EQ(
        run(want, want_h, naive<glance_modulated_norm_args, glance_test::naive_modulated_norm>),
        GLANCE_OK);
    ASSERT_EQ(run(got, got_h, glance_modulated_norm), GLANCE_OK) << glance_last_error();
    EXPECT_TRUE(alike(got, want, dtype)) << "y";
    EXPECT_TRUE(alike(got_h, want_h, dtype)) << "h";
  }
}

TEST_F(Naive, QkNormRope) {
  for (const glance_dtype dtype : glance_test::dtypes()) {
    SCOPED_TRACE(glance_test::name(dtype) + (" seed=" + std::to_string(++seed_)));
    std::mt19937 random(seed_);
    const int64_t tokens = emulated() ? 10 : 4096, heads = emulated() ? 3 : 24, dim = 128;
    Buffer projection = random_buffer(dtype, tokens, 3 * heads * dim, random);
    Buffer q_weight = random_buffer(dtype, 1, dim, random);
    Buffer k_weight = random_buffer(dtype, 1, dim, random);
    Buffer rotation = random_buffer(GLANCE_F32, tokens, dim, random);
    // q, k and v one below the other.
    Buffer got(dtype, 3 * heads * tokens, dim), want(dtype, 3 * heads * tokens, dim);
    const auto run = [&](Buffer &out, auto operation) {
      glance_qk_norm_rope_args args = {};
      args.struct_size = sizeof args;
      args.q = projection.at(0, 0);
      args.k = projection.at(0, heads * dim);
      args.v = projection.at(0, 2 * heads * dim);
      args.q_weight = q_weight.data();
      args.k_weight = k_weight.data();
      args.rotation = static_cast<const float *>(static_cast<const void *>(rotation.data()));
      args.q_out = out.at(0, 0);
      args.k_out = out.at(heads * tokens, 0);
      args.v_out = out.at(2 * heads * tokens, 0);
      args.batch = 1;
      args.tokens = tokens;
      args.heads = heads;
      args.dim = dim;
      args.in_token_stride = 3 * heads * dim;
      args.in_batch_stride = tokens * args.in_token_stride;
      args.out_token_stride = dim;
      args.out_head_stride = tokens * dim;
      args.out_batch_stride = heads * tokens * dim;
      args.epsilon = 1e-6f;
      args.dtype = args.out_dtype = dtype;
      args.device = GLANCE_CUDA;
      const Mirror mirror({&projection, &q_weight, &k_weight, &rotation, &out});
      mirror.place(&args.q, &args.k, &args.v, &args.q_weight, &args.k_weight, &args.rotation,
                   &args.q_out, &args.k_out, &args.v_out);
      return mirror.done(operation(&args, nullptr));
    };
    ASSERT_EQ(run(want, naive<glance_qk_norm_rope_args, glance_test::naive_qk_norm_rope>),
              GLANCE_OK);
    ASSERT_EQ(run(got, glance_qk_norm_rope), GLANCE_OK) << glance_last_error();
    EXPECT_TRUE(alike(got, want, dtype));
  }
}

}  // namespace
