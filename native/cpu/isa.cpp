#include "cpu/isa.h"

#include <glance/core.h>

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

}  // namespace

Isa best_isa() noexcept {
  static const Isa best = detect();
  return best;
}

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
