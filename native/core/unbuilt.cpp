// Operations that are declared but not built yet.
#include <glance/modulated_norm.h>

#include "core/status.h"

#define GLANCE_UNBUILT(function, args) \
  extern "C" glance_status function(const args *, void *) { return glance::fail(GLANCE_UNSUPPORTED, #function " is not built"); }
GLANCE_UNBUILT(glance_modulated_norm, glance_modulated_norm_args)
