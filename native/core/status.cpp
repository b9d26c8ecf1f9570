#include "core/status.h"

#include <cstdarg>
#include <cstdio>

namespace glance {
namespace {
// A plain array: no allocation, so that reporting an error cannot itself fail.
thread_local char last_error[1024] = "";
}  // namespace

glance_status fail(glance_status status, const char *format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace glance

extern "C" {

int32_t glance_abi_version(void) { return GLANCE_ABI_VERSION; }

const char *glance_last_error(void) { return glance::last_error; }
}
