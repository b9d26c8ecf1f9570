/* Uses the exported library as a C program does: every header, every function. */
#include <glance/attention.h>
#include <glance/conv2d.h>
#include <glance/core.h>
#include <glance/flow_step.h>
#include <glance/gated_residual.h>
#include <glance/lora_linear.h>
#include <glance/matrix.h>
#include <glance/modulated_norm.h>
#include <glance/qk_norm_rope.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char *what) {
  if (!condition) {
    printf("FAILED: %s (last error: %s)\n", what, glance_last_error());
    ++failures;
  }
}

static void test_core(void) {
  expect(glance_abi_version() == GLANCE_ABI_VERSION, "header and library have one ABI version");
  expect(strncmp(glance_cpu_features(), "baseline", 8) == 0, "baseline is always there");
  expect(glance_set_threads(1) == GLANCE_OK && glance_threads() == 1, "threads can be set");
  expect(glance_set_alone(1) == 0 && glance_set_alone(0) == 1, "a thread can be left alone");
  glance_let_idle_threads_sleep();
  expect(glance_set_openblas_threads(1) == 0, "this program has no OpenBLAS");
  expect(getenv("OMP_WAIT_POLICY") != NULL, "idle threads are let sleep");
}

static void test_cuda(void) {
  int32_t driver = -1;
  int32_t devices = -1;
  const glance_status status = glance_cuda_query(&driver, &devices);
  expect(status == GLANCE_OK || status == GLANCE_UNSUPPORTED, "cuda_query answers anywhere");
  expect(driver >= 0 && devices >= 0, "cuda_query fills its outputs");
  printf("cpu: %s; cuda: [%s], driver %d, devices %d%s%s\n", glance_cpu_features(),
         glance_cuda_architectures(), driver, devices, status == GLANCE_OK ? "" : ": ",
         status == GLANCE_OK ? "" : glance_last_error());
  expect(glance_cuda_device_info(0, NULL) != GLANCE_OK, "a null device is refused");
}

#define EXPECT_NULL_REFUSED(operation)                                                             \
  do {                                                                                             \
    expect(operation(NULL, NULL) == GLANCE_INVALID_ARGUMENT, #operation " refuses null args");     \
    expect(strstr(glance_last_error(), "args is null") != NULL, #operation " names the argument"); \
  } while (0)

static void test_null_args(void) {
  EXPECT_NULL_REFUSED(glance_attention);
  EXPECT_NULL_REFUSED(glance_conv2d);
  EXPECT_NULL_REFUSED(glance_flow_step);
  EXPECT_NULL_REFUSED(glance_gated_residual);
  EXPECT_NULL_REFUSED(glance_lora_linear);
  EXPECT_NULL_REFUSED(glance_lora_linear_backward);
  EXPECT_NULL_REFUSED(glance_modulated_norm);
  EXPECT_NULL_REFUSED(glance_qk_norm_rope);
}

static void test_flow_step(void) {
  float latents[2] = {1.0f, -2.0f};
  const float velocity[2] = {0.5f, 4.0f};
  glance_flow_step_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = (int64_t)sizeof args;
  args.latents = latents;
  args.v_pos = velocity;
  args.rows = 1;
  args.columns = 2;
  args.latents_stride = 2;
  args.v_pos_stride = 2;
  args.latents_dtype = GLANCE_F32;
  args.velocity_dtype = GLANCE_F32;
  args.sigma = 1.0f;
  args.sigma_next = 0.5f;
  expect(glance_flow_step(&args, NULL) == GLANCE_OK, "a plain step runs");
  expect(latents[0] == 0.75f && latents[1] == -4.0f, "a plain step is right");
}

/* A linear of two inputs and one output, without an adapter. */
static void test_linear(void) {
  const float weight[2] = {2.0f, -3.0f};
  const float x[2] = {5.0f, 0.5f};
  float y = 0.0f;
  glance_matrix_args matrix_args;
  memset(&matrix_args, 0, sizeof matrix_args);
  matrix_args.struct_size = (int64_t)sizeof matrix_args;
  matrix_args.data = weight;
  matrix_args.rows = 1;
  matrix_args.columns = 2;
  matrix_args.row_stride = 2;
  matrix_args.column_stride = 1;
  matrix_args.dtype = GLANCE_F32;
  glance_matrix *matrix = NULL;
  expect(glance_matrix_create(&matrix_args, &matrix) == GLANCE_OK, "a matrix is made");
  expect(glance_matrix_bytes(matrix) >= (int64_t)sizeof weight, "a matrix has bytes");

  glance_linear linear;
  memset(&linear, 0, sizeof linear);
  linear.weight = matrix;
  linear.y = &y;
  linear.y_stride = 1;
  glance_lora_linear_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = (int64_t)sizeof args;
  args.x = x;
  args.rows = 1;
  args.x_stride = 2;
  args.linears = &linear;
  args.linear_count = 1;
  args.dtype = GLANCE_F32;
  expect(glance_lora_linear(&args, NULL) == GLANCE_OK, "a linear runs");
  expect(y == 8.5f, "a linear is right");
  glance_matrix_destroy(matrix);

  expect(glance_release_mapped_pages(weight, 0) == GLANCE_OK, "no bytes, no pages");
}

int main(void) {
  test_core();
  test_cuda();
  test_null_args();
  test_flow_step();
  test_linear();
  return failures == 0 ? 0 : 1;
}
