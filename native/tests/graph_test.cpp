// Every operation in a CUDA graph: captured once, which an allocation or a wait for the device
// would break off, and replayed with the results of a plain call; adapters and sigmas change
// between two replays. On a device only.
#include <cuda_runtime_api.h>
#include <glance/flow_step.h>
#include <glance/gated_residual.h>
#include <glance/modulated_norm.h>
#include <glance/qk_norm_rope.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/lora_backward_problem.h"
#include "tests/lora_problem.h"
#include "tests/mirror.h"
#include "tests/support.h"
#include "tests/variants.h"

namespace {

using glance_test::Buffer;
using glance_test::LoraCall;
using glance_test::LoraCase;
using glance_test::LoraTensors;
using glance_test::Mirror;
using glance_test::Workspace;

// What a call queued on a stream.
class Graph {
 public:
  explicit Graph(const std::function<glance_status(void *stream)> &call) {
    good(cudaStreamCreate(&stream_));
    good(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal));
    EXPECT_EQ(call(stream_), GLANCE_OK) << glance_last_error();
    cudaGraph_t graph = nullptr;
    good(cudaStreamEndCapture(stream_, &graph));
    good(cudaGraphInstantiate(&executable_, graph, 0));
    good(cudaGraphDestroy(graph));
  }
  ~Graph() {
    good(cudaGraphExecDestroy(executable_));
    good(cudaStreamDestroy(stream_));
  }
  Graph(const Graph &) = delete;
  Graph &operator=(const Graph &) = delete;

  // Its work is done when Mirror's done() returns.
  glance_status replay() const {
    good(cudaGraphLaunch(executable_, stream_));
    return GLANCE_OK;
  }

 private:
  static void good(cudaError_t error) {
    EXPECT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
  }

  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

class GraphTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!glance_test::on_cuda()) GTEST_SKIP() << "of CUDA only";
  }
};

LoraCase lora_case(glance_dtype dtype) {
  LoraCase c;
  c.dtype = dtype;
  c.rows = 300;
  c.k = 200;
  c.aligned = true;
  c.adapters = 2;
  c.segments = {{0, 130, 0, 0}, {130, 140, -1, 0}, {140, 300, 1, 0}};
  c.linears = {{264, true, GLANCE_EPILOGUE_GELU_TANH, 1, false, {16, 8}},
               {40, false, GLANCE_EPILOGUE_NONE, 1, false, {4, 32}}};
  return c;
}

LoraTensors chosen_by_hand(const LoraTensors &before, const std::vector<int32_t> &chosen) {
  LoraTensors after(before);
  for (glance_segment &s : after.c.segments) {
    if (s.adapter >= 0) s.adapter = chosen[static_cast<size_t>(s.adapter)];
  }
  EXPECT_EQ(LoraCall(&after).run(), GLANCE_OK) << glance_last_error();
  return after;
}

void check_lora_linear(glance_dtype dtype) {
  const LoraTensors before(lora_case(dtype), glance_test::first_seed());
  LoraTensors after(before);
  LoraCall call(&after);
  Buffer selection(GLANCE_F32, 1, 2);
  std::vector<Buffer *> buffers = call.buffers();
  buffers.push_back(&selection);
  const Mirror mirror(buffers);
  glance_lora_linear_args args = call.args;
  args.adapters.selection = static_cast<const int32_t *>(selection.data());
  mirror.place(&args.x, &args.h, &args.adapters.selection);
  for (glance_linear &l : call.linears) mirror.place(&l.bias, &l.y, &l.gate, &l.residual);
  int64_t bytes = 0;
  ASSERT_EQ(glance_lora_linear_workspace(&args, &bytes), GLANCE_OK) << glance_last_error();
  const Workspace workspace(bytes);
  args.workspace = workspace.data();
  args.workspace_bytes = bytes;
  const Graph graph([&](void *stream) { return glance_lora_linear(&args, stream); });
  for (const auto &chosen : {std::vector<int32_t>{0, 1}, {1, 0}, {-1, 1}, {0, 1}}) {
    glance_test::upload(const_cast<int32_t *>(args.adapters.selection), chosen.data(), 8);
    ASSERT_EQ(mirror.done(graph.replay()), GLANCE_OK);
    const LoraTensors want = chosen_by_hand(before, chosen);
    for (size_t g = 0; g < want.y.size(); ++g) {
      ASSERT_TRUE(after.y[g].bytes == want.y[g].bytes) << "linear " << g;
    }
  }
}

TEST_F(GraphTest, LoraLinearWithAnotherSelectionForEachReplay) {
  glance_test::for_each_variant(glance_test::matmul_variants(), [](glance_dtype dtype) {
    if (glance_test::current_matmul() == GLANCE_MATMUL_WGMMA && dtype == GLANCE_F32) return;
    check_lora_linear(dtype);
  });
}

TEST_F(GraphTest, FlowStepWithAnotherScheduleForEachReplay) {
  std::mt19937 random(glance_test::first_seed());
  Buffer latents(GLANCE_F32, 100, 64), velocity(GLANCE_BF16, 100, 64), triple(GLANCE_F32, 1, 3);
  latents.fill(random);
  velocity.fill(random);
  Buffer want = latents;
  glance_flow_step_args args = {};
  args.struct_size = sizeof args;
  args.latents = latents.data();
  args.v_pos = velocity.data();
  args.rows = latents.rows;
  args.columns = latents.columns;
  args.latents_stride = args.v_pos_stride = 64;
  args.latents_dtype = GLANCE_F32;
  args.velocity_dtype = GLANCE_BF16;
  args.schedule = static_cast<const float *>(static_cast<const void *>(triple.data()));
  const float sigmas[] = {1.0f, 0.9f, 0.5f, 0.0f};
  glance_flow_step_args on_cpu = args;
  on_cpu.schedule = nullptr;
  on_cpu.latents = want.data();
  args.device = GLANCE_CUDA;
  const Mirror mirror({&latents, &velocity, &triple});
  mirror.place(&args.latents, &args.v_pos, &args.schedule);
  const Graph graph([&](void *stream) { return glance_flow_step(&args, stream); });
  for (int step = 0; step < 3; ++step) {
    const float now[] = {sigmas[step], sigmas[step + 1], 1.0f};
    glance_test::upload(const_cast<float *>(args.schedule), now, sizeof now);
    ASSERT_EQ(mirror.done(graph.replay()), GLANCE_OK);
    on_cpu.sigma = sigmas[step];
    on_cpu.sigma_next = sigmas[step + 1];
    ASSERT_EQ(glance_flow_step(&on_cpu, nullptr), GLANCE_OK) << glance_last_error();
    EXPECT_TRUE(latents.bytes == want.bytes) << "step " << step;
  }
}

// A layer's other operations, one after the other in one graph.
TEST_F(GraphTest, NormRopeAndResidual) {
  std::mt19937 random(glance_test::first_seed());
  const int64_t rows = 50, columns = 256;
  Buffer x(GLANCE_BF16, rows, columns), gate(GLANCE_BF16, 1, columns), norm(x), sum(x), rotated(x);
  Buffer rotation(GLANCE_F32, rows, 128);
  for (Buffer *filled : {&x, &gate, &rotation}) filled->fill(random);
  const Mirror mirror({&x, &gate, &norm, &sum, &rotated, &rotation});
  glance_modulated_norm_args n = {};
  n.struct_size = sizeof n;
  n.x = x.data();
  n.y = norm.data();
  n.rows = rows;
  n.columns = columns;
  n.x_stride = n.y_stride = columns;
  n.epsilon = 1e-6f;
  n.dtype = GLANCE_BF16;
  n.device = GLANCE_CUDA;
  mirror.place(&n.x, &n.y);
  glance_gated_residual_args g = {};
  g.struct_size = sizeof g;
  g.residual = x.data();
  g.update = norm.data();
  g.gate = gate.data();
  g.y = sum.data();
  g.rows = rows;
  g.columns = columns;
  g.residual_stride = g.update_stride = g.gate_stride = g.y_stride = columns;
  g.rows_per_gate = rows;
  g.dtype = GLANCE_BF16;
  g.device = GLANCE_CUDA;
  mirror.place(&g.residual, &g.update, &g.gate, &g.y);
  // One head each for q and k, normalised with the gates for weights.
  glance_qk_norm_rope_args q = {};
  q.struct_size = sizeof q;
  q.q = sum.data();
  q.k = sum.at(0, 128);
  q.q_weight = q.k_weight = gate.data();
  q.rotation = static_cast<const float *>(static_cast<const void *>(rotation.data()));
  q.q_out = rotated.data();
  q.k_out = rotated.at(rows / 2, 0);
  q.batch = 1;
  q.tokens = rows;
  q.heads = 1;
  q.dim = 128;
  q.in_token_stride = columns;
  q.out_token_stride = 128;
  q.epsilon = 1e-6f;
  q.dtype = q.out_dtype = GLANCE_BF16;
  q.device = GLANCE_CUDA;
  mirror.place(&q.q, &q.k, &q.q_weight, &q.k_weight, &q.rotation, &q.q_out, &q.k_out);
  const auto all = [&](void *stream) {
    glance_status status = glance_modulated_norm(&n, stream);
    if (status == GLANCE_OK) status = glance_gated_residual(&g, stream);
    if (status == GLANCE_OK) status = glance_qk_norm_rope(&q, stream);
    return status;
  };
  ASSERT_EQ(mirror.done(all(nullptr)), GLANCE_OK) << glance_last_error();
  const Buffer want = rotated;
  const std::vector<unsigned char> poison(want.bytes.size(), 0xFF);
  const Graph graph(all);
  glance_test::upload(q.q_out, poison.data(), poison.size());
  ASSERT_EQ(mirror.done(graph.replay()), GLANCE_OK);
  const size_t written = static_cast<size_t>(rows * columns) * 2;
  EXPECT_EQ(std::memcmp(rotated.bytes.data(), want.bytes.data(), written), 0);
}

TEST_F(GraphTest, LoraLinearBackward) {
  glance_test::BackwardCase c;
  c.dtype = GLANCE_BF16;
  c.rows = 300;
  c.k = 200;
  c.n = 136;
  c.rank = 16;
  const glance_test::BackwardTensors before(c, glance_test::first_seed());
  glance_test::BackwardTensors want(before), got(before);
  ASSERT_EQ(glance_test::BackwardCall(&want).run(), GLANCE_OK) << glance_last_error();
  const glance_test::BackwardCall call(&got);
  const auto captured = [](const glance_lora_linear_backward_args *args, void *) {
    const Graph graph([&](void *stream) { return glance_lora_linear_backward(args, stream); });
    const glance_status status = graph.replay();
    EXPECT_EQ(glance_test::synchronize(), "");
    return status;
  };
  ASSERT_EQ(call.run(captured), GLANCE_OK);
  EXPECT_TRUE(got.dx.bytes == want.dx.bytes);
  EXPECT_TRUE(got.d_down.bytes == want.d_down.bytes);
  EXPECT_TRUE(got.d_up.bytes == want.d_up.bytes);
}

}  // namespace
