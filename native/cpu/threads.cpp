#include "cpu/threads.h"

#include <dlfcn.h>
#include <glance/core.h>

#include <atomic>

#include "core/status.h"

namespace glance {
namespace {

// GNU's OpenMP runtime, as its header and its ABI for compiled code declare it. Looked up and not
// linked: the library must load before LibTorch and must then use the very runtime that LibTorch
// brings, for two runtimes are two pools of threads that fight for the same CPUs.
struct OpenMp {
  void (*parallel)(void (*body)(void *), void *context, unsigned threads, unsigned flags);
  int (*thread)();
  int (*threads)();
  int (*max_threads)();
};

template <typename Function>
bool find(void *library, const char *name, Function *function) noexcept {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

const OpenMp *look_up() noexcept {
  static OpenMp found;
  void *library = dlopen("libgomp.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return nullptr;
  const bool complete = find(library, "GOMP_parallel", &found.parallel) &&
                        find(library, "omp_get_thread_num", &found.thread) &&
                        find(library, "omp_get_num_threads", &found.threads) &&
                        find(library, "omp_get_max_threads", &found.max_threads);
  return complete ? &found : nullptr;
}

// Null until the process has loaded the runtime; asked again each time until then.
const OpenMp *openmp() noexcept {
  static std::atomic<const OpenMp *> runtime{nullptr};
  const OpenMp *known = runtime.load(std::memory_order_acquire);
  if (known == nullptr) {
    known = look_up();
    runtime.store(known, std::memory_order_release);
  }
  return known;
}

// 0: not set.
std::atomic<int32_t> threads_set{0};

struct Call {
  const OpenMp *runtime;
  void (*body)(void *, int, int);
  void *context;
};

void run(void *context) {
  const Call &call = *static_cast<const Call *>(context);
  call.body(call.context, call.runtime->thread(), call.runtime->threads());
}

}  // namespace

int max_threads() noexcept {
  const int set = threads_set.load(std::memory_order_relaxed);
  const OpenMp *runtime = openmp();
  if (runtime == nullptr) return 1;
  return set > 0 ? set : runtime->max_threads();
}

void parallel(int threads_wanted, void (*body)(void *, int, int), void *context) noexcept {
  const OpenMp *runtime = threads_wanted > 1 ? openmp() : nullptr;
  if (runtime == nullptr) return body(context, 0, 1);
  Call call = {runtime, body, context};
  runtime->parallel(run, &call, static_cast<unsigned>(threads_wanted), 0);
}

}  // namespace glance

extern "C" {

glance_status glance_set_threads(int32_t threads) {
  if (threads < 1) {
    return glance::fail(GLANCE_INVALID_ARGUMENT, "set_threads: threads must be 1 or more, not %d",
                        threads);
  }
  glance::threads_set.store(threads, std::memory_order_relaxed);
  return GLANCE_OK;
}

int32_t glance_threads(void) { return glance::max_threads(); }
}
