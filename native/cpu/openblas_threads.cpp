// How many threads OpenBLAS takes. It is not this library's: it is looked for among what the process
// has loaded, by its name, for JavaCPP loads libraries where dlsym does not see them.
#include <dlfcn.h>
#include <glance/core.h>

#include <mutex>

namespace glance {
namespace {

struct OpenBlas {
  int (*threads)();
  void (*set_threads)(int);
};

#if defined(__APPLE__)
constexpr const char *kName = "libopenblas.0.dylib";
#else
constexpr const char *kName = "libopenblas.so.0";
#endif

// All null until it is loaded. It is never unloaded after that.
OpenBlas openblas() noexcept {
  static std::mutex mutex;
  static OpenBlas library = {};
  const std::lock_guard<std::mutex> lock(mutex);
  if (library.threads != nullptr) return library;
  void *handle = dlopen(kName, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return {};
  void *threads = dlsym(handle, "openblas_get_num_threads");
  void *set_threads = dlsym(handle, "openblas_set_num_threads");
  if (threads == nullptr || set_threads == nullptr) return {};
  library = {reinterpret_cast<int (*)()>(threads), reinterpret_cast<void (*)(int)>(set_threads)};
  return library;
}

}  // namespace
}  // namespace glance

extern "C" int32_t glance_set_openblas_threads(int32_t threads) {
  const glance::OpenBlas library = glance::openblas();
  if (library.threads == nullptr) return 0;
  const int before = library.threads();
  if (threads > 0 && threads != before) library.set_threads(threads);
  return before;
}
