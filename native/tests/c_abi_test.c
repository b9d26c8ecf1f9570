/* Uses the exported library as a C program does. */
#include <glance/core.h>
#include <glance/flow_step.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

static void expect(int condition, const char *what) {
  if (!condition) {
    printf("FAILED: %s (last error: %s)\n", what, glance_last_error());
    ++failures;
  }
}

int main(void) {
  expect(glance_abi_version() == GLANCE_ABI_VERSION, "header and library have one ABI version");
  expect(strncmp(glance_cpu_features(), "baseline", 8) == 0, "baseline is always there");

  int32_t driver = -1;
  int32_t devices = -1;
  const glance_status status = glance_cuda_query(&driver, &devices);
  expect(status == GLANCE_OK || status == GLANCE_UNSUPPORTED, "cuda_query answers anywhere");
  expect(driver >= 0 && devices >= 0, "cuda_query fills its outputs");
  printf("cpu: %s; cuda: [%s], driver %d, devices %d%s%s\n", glance_cpu_features(),
         glance_cuda_architectures(), driver, devices, status == GLANCE_OK ? "" : ": ",
         status == GLANCE_OK ? "" : glance_last_error());
  expect(glance_cuda_device_info(0, NULL) != GLANCE_OK, "a null device is refused");

  expect(glance_flow_step(NULL, NULL) == GLANCE_INVALID_ARGUMENT, "null args are refused");
  expect(strstr(glance_last_error(), "args") != NULL, "the message names the argument");

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
  return failures == 0 ? 0 : 1;
}
