// A small pool of our own, because of how its threads wait. A denoising step is some sixty calls of
// 20 to 500 us with other libraries' parallel work between them. Waking a sleeping thread takes up
// to 100 us on a virtual machine, so a thread must not sleep between calls; but one that simply
// spins, as OpenMP's do, keeps the CPU from LibTorch's and OpenBLAS's own threads, and pools that
// spin against each other cost up to fifty times the work. These spin too, but yield the CPU each
// time they have looked for a while.
#include "cpu/threads.h"

#include <glance/core.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>

#include "core/status.h"

#if defined(GLANCE_X86)
#include <immintrin.h>
#endif

namespace glance {
namespace {

constexpr int kMostThreads = 256;
// Longer than the gaps between the calls of one step and those before and after the steps, short
// enough not to warm an idle machine.
constexpr auto kSpinTime = std::chrono::microseconds(1000);

// Some 5 us on one core.
constexpr double kThreadOperations = 5e5;

struct Job {
  void (*body)(void *, int, int);
  void *context;
  int threads;
};

// In place of a job that its thread has begun.
constexpr Job kBegun = {};

class Worker {
 public:
  // False if the system gives no thread.
  bool start(int number) noexcept {
    number_ = number;
    // The host program's signals are for its own threads.
    sigset_t all, before;
    sigfillset(&all);
    for (int synchronous : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&all, synchronous);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const bool started = pthread_create(&thread, nullptr, enter, this) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (started) pthread_detach(thread);
    return started;
  }

  void give(const Job *job) noexcept {
    job_.store(job);
    if (!asleep_.load()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_one();
  }

  // True if the thread has not begun yet, and now will not: other programs may have its CPU for
  // milliseconds, and waking takes longer than most jobs.
  bool take_back(const Job *job) noexcept {
    return job_.compare_exchange_strong(job, nullptr);
  }

  void wait_until_done() const noexcept {
    for (uint32_t turn = 0; job_.load(std::memory_order_acquire) != nullptr; ++turn) {
      wait_a_turn(turn);
    }
  }

 private:
  static void *enter(void *self) {
    static_cast<Worker *>(self)->run();
    return nullptr;
  }

  void run() noexcept {
    for (;;) {
      const Job *job = next();
      job->body(job->context, number_, job->threads);
      job_.store(nullptr, std::memory_order_release);
    }
  }

  const Job *next() noexcept {
    for (;;) {
      const auto begin = std::chrono::steady_clock::now();
      for (uint32_t turn = 0;; ++turn) {
        const Job *job = begun();
        if (job != nullptr) return job;
        wait_a_turn(turn);
        if (turn % 64 == 63 && std::chrono::steady_clock::now() - begin > kSpinTime) break;
      }
      sleep();
    }
  }

  // The caller stores the job and then looks whether this thread sleeps; this thread says so and
  // then looks for a job: one of the two sees the other. It may be woken for a job that has been
  // taken back, and then looks for the next one for a while, as after a job.
  void sleep() noexcept {
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.store(true);
    if (job_.load() == nullptr) wake_.wait(lock);
    asleep_.store(false);
  }

  // The job given, if there is one, which is not taken back after this.
  const Job *begun() noexcept {
    const Job *job = job_.load();
    return job != nullptr && job_.compare_exchange_strong(job, &kBegun) ? job : nullptr;
  }

  int number_ = 0;
  // Null while the thread has nothing to do, kBegun while it does it. On a line of its own, for it
  // is what both sides watch.
  alignas(64) std::atomic<const Job *> job_{nullptr};
  alignas(64) std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

// Never destroyed: its threads run until the process ends.
struct Pool {
  std::atomic<bool> busy{false};
  // Those started; only the call that has the pool looks at them.
  int started = 0;
  Worker workers[kMostThreads];

  // Starts threads until there are wanted, as far as the system gives them; returns how many.
  int provide(int wanted) noexcept {
    while (started < wanted && workers[started].start(started + 1)) ++started;
    return std::min(started, wanted);
  }
};

Pool &pool() noexcept {
  alignas(Pool) static unsigned char memory[sizeof(Pool)];
  static Pool *made = new (memory) Pool;
  return *made;
}

int cpus() noexcept {
  const unsigned count = std::thread::hardware_concurrency();  // those this process may run on
  return static_cast<int>(std::clamp(count, 1u, static_cast<unsigned>(kMostThreads)));
}

// 0: not set.
std::atomic<int32_t> threads_set{0};

// See glance_set_alone.
thread_local bool alone = false;

}  // namespace

void wait_a_turn(uint32_t turn) noexcept {
  if (turn % 64 == 63) {
    sched_yield();
    return;
  }
#if defined(GLANCE_X86)
  _mm_pause();
#endif
}

int max_threads() noexcept {
  if (alone) return 1;
  static const int available = cpus();
  const int set = threads_set.load(std::memory_order_relaxed);
  return set > 0 ? set : available;
}

int threads_worth(double operations, int64_t parts) noexcept {
  const double worth = std::min(operations / kThreadOperations + 1.0, static_cast<double>(parts));
  return static_cast<int>(std::min(worth, static_cast<double>(max_threads())));
}

void parallel(int threads_wanted, void (*body)(void *, int, int), void *context) noexcept {
  Pool &p = pool();
  if (threads_wanted < 2 || p.busy.exchange(true, std::memory_order_acquire)) {
    return body(context, 0, 1);
  }
  const int others = p.provide(threads_wanted - 1);
  const Job job = {body, context, others + 1};
  for (int i = 0; i < others; ++i) p.workers[i].give(&job);
  body(context, 0, others + 1);
  for (int i = 0; i < others; ++i) {
    if (p.workers[i].take_back(&job)) {
      body(context, i + 1, others + 1);
    } else {
      p.workers[i].wait_until_done();
    }
  }
  p.busy.store(false, std::memory_order_release);
}

}  // namespace glance

extern "C" {

glance_status glance_set_threads(int32_t threads) {
  if (threads < 1 || threads > glance::kMostThreads) {
    return glance::fail(GLANCE_INVALID_ARGUMENT, "set_threads: threads must be 1 to %d, not %d",
                        glance::kMostThreads, threads);
  }
  glance::threads_set.store(threads, std::memory_order_relaxed);
  return GLANCE_OK;
}

int32_t glance_threads(void) { return glance::max_threads(); }

int32_t glance_set_alone(int32_t alone) {
  const int32_t before = glance::alone ? 1 : 0;
  glance::alone = alone != 0;
  return before;
}

void glance_let_idle_threads_sleep(void) {
  setenv("OMP_WAIT_POLICY", "PASSIVE", 0);
  setenv("OPENBLAS_THREAD_TIMEOUT", "18", 0);
}
}
