// Picks flow_step's loops for this machine.
#include "cpu/flow_step.h"

#include "cpu/isa.h"

namespace glance {

void flow_step_cpu(const glance_flow_step_args &args) noexcept {
  GLANCE_PICK_ISA(flow_step_rows)(args);
}

}  // namespace glance
