// The thread's last error message, and how an operation reports one.
#pragma once

#include <glance/core.h>

namespace glance {

// Keeps the message for glance_last_error() and returns status, for "return fail(...)".
__attribute__((format(printf, 2, 3))) glance_status fail(glance_status status, const char *format,
                                                         ...) noexcept;

}  // namespace glance
