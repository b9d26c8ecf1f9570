// Picks flow_step's loops for this machine.
#include "cpu/flow_step.h"

#include "cpu/isa.h"

namespace glance {

void flow_step_cpu(const glance_flow_step_args &args) noexcept {
#if defined(GLANCE_X86)
  switch (best_isa()) {
    case Isa::avx512:
      return flow_step_rows_avx512(args);
    case Isa::avx2:
      return flow_step_rows_avx2(args);
    case Isa::baseline:
      break;
  }
#endif
  flow_step_rows_baseline(args);
}

}  // namespace glance
