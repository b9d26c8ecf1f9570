// Threads for the CPU's kernels.
#pragma once

#include <cstdint>

namespace glance {

// How many threads a call may use; see glance_set_threads and glance_set_alone.
int max_threads() noexcept;

// How many threads are worth starting for so many multiplications and additions in so many parts
// that cannot be divided: each shall have some 5 us to do.
int threads_worth(double operations, int64_t parts) noexcept;

// Runs body(context, thread, threads) once for each thread = 0 ... threads - 1, the caller being
// thread 0, and returns when all are done. threads is at least 1 and at most the number wanted; it
// is 1 while another call has the threads. All of them run at once, so one may wait for another.
void parallel(int threads_wanted, void (*body)(void *context, int thread, int threads),
              void *context) noexcept;

// The same for a lambda (int thread, int threads).
template <typename Body>
void parallel(int threads_wanted, const Body &body) noexcept {
  parallel(
      threads_wanted,
      [](void *context, int thread, int threads) {
        (*static_cast<const Body *>(context))(thread, threads);
      },
      const_cast<Body *>(&body));
}

// The share of 0 ... count - 1 that one thread takes: begin(thread) to begin(thread + 1) - 1.
inline int64_t share_begin(int64_t count, int thread, int threads) noexcept {
  return count * thread / threads;
}

// One turn of a loop that waits for another thread; turn counts them from 0. Mostly a pause; now
// and then it lets another thread have the CPU, which may be the one waited for.
void wait_a_turn(uint32_t turn) noexcept;

}  // namespace glance
