#include "cpu/isa.h"

#include <glance/core.h>

#include <algorithm>
#include <atomic>

namespace glance {
namespace {

Isa detect() noexcept {
#if defined(GLANCE_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::baseline;
}

std::atomic<Isa> most_for_test{Isa::avx512_bf16};

}  // namespace

Isa best_isa() noexcept {
  static const Isa best = detect();
  return std::min(best, most_for_test.load(std::memory_order_relaxed));
}

void set_isa_for_test(Isa most) noexcept { most_for_test.store(most, std::memory_order_relaxed); }

}  // namespace glance

extern "C" const char *glance_cpu_features(void) {
  switch (glance::best_isa()) {
    case glance::Isa::avx512_bf16:
      return "baseline avx2 avx512 avx512_bf16";
    case glance::Isa::avx512:
      return "baseline avx2 avx512";
    case glance::Isa::avx2:
      return "baseline avx2";
    case glance::Isa::baseline:
      break;
  }
  return "baseline";
}
