// lora_linear by cuBLASLt: what its refusals say, and, where there are a device and the library,
// its values against a float64 oracle.
#include "cuda/cublaslt.h"

#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/lora_oracle.h"
#include "tests/lora_problem.h"

namespace {

using glance::LoraParams;
using glance_test::LinearCase;
using glance_test::LoraCall;
using glance_test::LoraCase;
using glance_test::LoraOracle;
using glance_test::LoraTensors;

// In a build without the library's header there is no more to it than this.
constexpr const char *kNotBuilt = "built without cublasLt.h";

LoraParams params_of_one_linear() {
  LoraParams p = {};
  p.rows = 100;
  p.k = 72;
  p.linear_count = 1;
  p.linears[0].n = 40;
  p.linears[0].w_row_stride = 72;
  p.linears[0].w_column_stride = 1;
  p.segment_count = 1;
  p.segments[0] = {0, 100, -1, 0};
  return p;
}

// What the call on no memory says; nothing is queued.
std::string refusal(const LoraParams &p) {
  EXPECT_EQ(glance::lora_linear_cublaslt(p, GLANCE_BF16, nullptr, 0, nullptr) == GLANCE_OK, false);
  return glance_last_error();
}

bool is_built() { return refusal(params_of_one_linear()).find(kNotBuilt) == std::string::npos; }

// Empty if the library is there, or why not.
std::string problem() {
  const std::string text = refusal(params_of_one_linear());
  return text.find("workspace_bytes") != std::string::npos ? "" : text;
}

TEST(CublasLt, SaysWhatWasTriedWithoutTheLibrary) {
  const std::string text = problem();
  if (text.empty()) GTEST_SKIP() << "the library is there";
  if (!is_built()) GTEST_SKIP() << kNotBuilt;
  EXPECT_NE(text.find("libcublasLt.so.1"), std::string::npos) << text;
  EXPECT_NE(text.find("; libcublasLt.so:"), std::string::npos) << text;
}

TEST(CublasLt, RefusesAdaptersChosenOnTheDevice) {
  if (!is_built()) GTEST_SKIP() << kNotBuilt;
  const int32_t selection[] = {0};
  LoraParams p = params_of_one_linear();
  p.selection = selection;
  EXPECT_NE(refusal(p).find("selection"), std::string::npos) << glance_last_error();
}

TEST(CublasLt, WorkspaceIsOfTheSizesAlone) {
  if (!is_built()) GTEST_SKIP() << kNotBuilt;
  LoraParams p = params_of_one_linear();
  const int64_t plain = glance::cublaslt_workspace_bytes(p, GLANCE_BF16);
  p.adapter_count = 1;
  p.linears[0].up[0].rank = 5;
  const int64_t joined = glance::cublaslt_workspace_bytes(p, GLANCE_BF16);
  // 72 + 5 columns are padded to 80, and each part to 256 bytes.
  EXPECT_EQ(joined - plain, 16128 + 6400);
  p.linears[0].epilogue = GLANCE_EPILOGUE_GATED_RESIDUAL;
  EXPECT_EQ(glance::cublaslt_workspace_bytes(p, GLANCE_BF16) - joined, 16128);
  EXPECT_EQ(joined % 256, 0);
}

// ||out - float64|| / ||float64||: an epilogue of the library's may be less exact than ours.
double relative_error(const LoraOracle &oracle, const LoraTensors &after, size_t linear) {
  double errors = 0, squares = 0;
  for (int64_t i = 0; i < after.c.rows; ++i) {
    for (int64_t n = 0; n < after.c.linears[linear].n; ++n) {
      const double want = oracle.y(linear, i, n).value;
      const double error = after.get_y(linear, i, n) - want;
      errors += error * error;
      squares += want * want;
    }
  }
  return std::sqrt(errors / squares);
}

void check_case(const LoraCase &c) {
  const LoraTensors before(c, glance_test::first_seed());
  const LoraOracle oracle(before);
  LoraTensors after(before);
  glance_test::Variant variant;
  variant.matmul = GLANCE_MATMUL_CUBLASLT;
  const glance_test::UseVariant use(variant);
  const LoraCall call(&after);
  ASSERT_EQ(call.run(), GLANCE_OK) << glance_last_error();
  for (size_t g = 0; g < c.linears.size(); ++g) {
    EXPECT_LT(relative_error(oracle, after, g), glance_test::relative_limit(c.dtype)) << "of " << g;
  }
  EXPECT_TRUE(glance_test::only_outputs_differ(before, after)) << "wrote what is no output";
}

// Each epilogue, with and without bias; the last linear has no adapter.
std::vector<LinearCase> linears_of(int32_t adapters) {
  std::vector<LinearCase> all;
  for (const glance_epilogue epilogue :
       {GLANCE_EPILOGUE_NONE, GLANCE_EPILOGUE_GELU_TANH, GLANCE_EPILOGUE_GATED_RESIDUAL}) {
    for (const bool bias : {false, true}) {
      LinearCase l;
      l.n = 72;
      l.bias = bias;
      l.epilogue = epilogue;
      l.rows_per_gate = 50;
      for (int32_t a = 0; a < adapters; ++a) l.ranks.push_back(a == 0 ? 16 : 5);
      all.push_back(l);
    }
  }
  all.push_back({});
  all.back().n = 64;
  all.back().ranks.assign(static_cast<size_t>(adapters), 0);
  return all;
}

TEST(CublasLt, Values) {
  if (!glance_test::on_cuda() || glance_test::emulated()) GTEST_SKIP() << "of a CUDA device only";
  if (!problem().empty()) GTEST_SKIP() << problem();
  for (const glance_dtype dtype : glance_test::dtypes()) {
    for (const int32_t adapters : {0, 2}) {
      LoraCase c;
      c.dtype = dtype;
      c.rows = 130;
      c.k = 96;
      c.aligned = true;
      c.gap = 3;
      c.offset = 1;
      c.adapters = adapters;
      c.linears = linears_of(adapters);
      if (adapters > 0) {
        c.segments = {
            {0, 30, 1, 0}, {30, 70, 0, 0}, {70, 70, 0, 0}, {70, 100, -1, 0}, {100, 130, 1, 0}};
      }
      SCOPED_TRACE(c.name());
      check_case(c);
    }
  }
}

}  // namespace
