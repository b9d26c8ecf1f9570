// lora_linear on the CPU. Arguments are checked, with at least one row.
#pragma once

#include <glance/lora_linear.h>

namespace glance {

glance_status lora_linear_cpu(const glance_lora_linear_args &args) noexcept;

}  // namespace glance
