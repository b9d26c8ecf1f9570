// The tests' main(): as GoogleTest's own, but where there is no device to run on it says so in one
// line and ends with the code that CTest takes for "skipped".
#include <glance/core.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/variants.h"

namespace {

constexpr int kSkipped = 77;

}  // namespace

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  if (glance_test::device() == GLANCE_CUDA) {
    int32_t driver = 0, count = 0;
    const glance_status status = glance_cuda_query(&driver, &count);
    if (status != GLANCE_OK || count == 0) {
      std::printf("skipped: no CUDA device (%s)\n",
                  status == GLANCE_OK ? "the driver lists none" : glance_last_error());
      return kSkipped;
    }
  }
  return RUN_ALL_TESTS();
}
