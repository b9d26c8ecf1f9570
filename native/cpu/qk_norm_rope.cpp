// Picks qk_norm_rope's loops for this machine and shares the tokens out.
#include "cpu/qk_norm_rope.h"

#include "cpu/isa.h"
#include "cpu/rows.h"

namespace glance {
namespace {

// Of q, k and v together; memory counted as arithmetic.
constexpr double kOperationsPerElement = 50;

}  // namespace

void qk_norm_rope_cpu(const glance_qk_norm_rope_args &args) noexcept {
  const auto rows = GLANCE_PICK_ISA(qk_norm_rope_rows);
  for_rows(args.batch * args.tokens,
           kOperationsPerElement * static_cast<double>(args.heads * args.dim),
           [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

}  // namespace glance
