// Picks gated_residual's loops for this machine and shares the rows out.
#include "cpu/gated_residual.h"

#include "cpu/isa.h"
#include "cpu/rows.h"

namespace glance {
namespace {

constexpr double kOperationsPerElement = 8;  // memory counted as arithmetic

}  // namespace

void gated_residual_cpu(const glance_gated_residual_args &args) noexcept {
  const auto rows = GLANCE_PICK_ISA(gated_residual_rows);
  for_rows(args.rows, kOperationsPerElement * static_cast<double>(args.columns),
           [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

}  // namespace glance
