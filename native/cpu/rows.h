// How an operation's rows are shared out among threads.
#pragma once

#include <cstdint>

#include "cpu/threads.h"

namespace glance {

// Calls body(begin, end) for ranges that make up 0 ... rows - 1, on as many threads as rows of so
// many operations each are worth.
template <typename Body>
void for_rows(int64_t rows, double row_operations, const Body &body) noexcept {
  const double operations = static_cast<double>(rows) * row_operations;
  parallel(threads_worth(operations, rows), [&](int thread, int threads) {
    const int64_t begin = share_begin(rows, thread, threads);
    const int64_t end = share_begin(rows, thread + 1, threads);
    if (begin < end) body(begin, end);
  });
}

}  // namespace glance
