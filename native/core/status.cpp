#include "core/status.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace glance {
namespace {
// A plain array: no allocation, so that reporting an error cannot itself fail.
thread_local char last_error[1024] = "";

void set_if_absent(const char *variable, const char *value) noexcept {
#if defined(_WIN32)
  if (std::getenv(variable) == nullptr) _putenv_s(variable, value);
#else
  setenv(variable, value, 0);
#endif
}
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

void glance_let_idle_threads_sleep(void) {
  glance::set_if_absent("OMP_WAIT_POLICY", "PASSIVE");
  glance::set_if_absent("OPENBLAS_THREAD_TIMEOUT", "22");
}
}
