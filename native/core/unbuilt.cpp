// Operations that are declared but not built yet.
#include <glance/gated_residual.h>
#include <glance/lora_linear.h>
#include <glance/modulated_norm.h>
#include <glance/qk_norm_rope.h>

#include "core/status.h"

#define GLANCE_UNBUILT(function, args) \
  extern "C" glance_status function(const args *, void *) { return glance::fail(GLANCE_UNSUPPORTED, #function " is not built"); }
GLANCE_UNBUILT(glance_lora_linear, glance_lora_linear_args)
GLANCE_UNBUILT(glance_lora_linear_backward, glance_lora_linear_backward_args)
GLANCE_UNBUILT(glance_modulated_norm, glance_modulated_norm_args)
GLANCE_UNBUILT(glance_qk_norm_rope, glance_qk_norm_rope_args)
GLANCE_UNBUILT(glance_gated_residual, glance_gated_residual_args)
extern "C" glance_status glance_matrix_create(const glance_matrix_args *, glance_matrix **matrix) { *matrix = nullptr; return glance::fail(GLANCE_UNSUPPORTED, "unbuilt"); }
extern "C" void glance_matrix_destroy(glance_matrix *) {}
extern "C" int64_t glance_matrix_bytes(const glance_matrix *) { return 0; }
extern "C" glance_status glance_release_mapped_pages(const void *, int64_t) { return GLANCE_OK; }
