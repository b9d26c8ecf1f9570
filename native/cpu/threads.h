// Threads for the CPU's kernels: those of the OpenMP runtime that is in the process already.
#pragma once

namespace glance {

// How many threads a call from this thread may use; see glance_set_threads.
int max_threads() noexcept;

// Runs body(context, thread, threads) once for each thread = 0 ... threads - 1, the caller being
// thread 0, and returns when all are done. threads is at most the number asked for and at least 1;
// inside another parallel region it is 1. All of them run at once, so one may wait for another.
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
inline long long share_begin(long long count, int thread, int threads) noexcept {
  return count * thread / threads;
}

}  // namespace glance
