// Picks modulated_norm's loops for this machine, shares the rows out, and projects what they wrote.
#include "cpu/modulated_norm.h"

#include <algorithm>

#include "core/adapters.h"
#include "cpu/down_projection.h"
#include "cpu/isa.h"
#include "cpu/rows.h"

namespace glance {
namespace {

// Projected while still in the second-level cache: 28 rows of 3072 floats are 336 KiB, and two of
// the widest register tiles.
constexpr int64_t kBlockRows = 28;

constexpr double kOperationsPerElement = 20;  // memory counted as arithmetic

double row_operations(const glance_modulated_norm_args &a) {
  const int64_t projected = a.h == nullptr ? 0 : h_columns(a.adapters);
  return (kOperationsPerElement + 2.0 * static_cast<double>(projected)) *
         static_cast<double>(a.columns);
}

// Rows begin to end - 1 of y and of h.
void norm_and_project(const glance_modulated_norm_args &a, int64_t begin, int64_t end) {
  const auto rows = GLANCE_PICK_ISA(modulated_norm_rows);
  for (int64_t from = begin; from < end; from += kBlockRows) {
    const int64_t to = std::min(from + kBlockRows, end);
    rows(a, from, to);
    project_down(a.adapters, a.dtype, a.y, a.y_stride, a.h, a.h_stride, from, to);
  }
}

}  // namespace

void modulated_norm_cpu(const glance_modulated_norm_args &args) noexcept {
  for_rows(args.rows, row_operations(args), [&](int64_t begin, int64_t end) {
    if (args.h == nullptr) return GLANCE_PICK_ISA(modulated_norm_rows)(args, begin, end);
    norm_and_project(args, begin, end);
  });
}

}  // namespace glance
