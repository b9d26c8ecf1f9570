// Which instruction set this machine runs best, of those the library is compiled for.
#pragma once

namespace glance {

// Each has everything the ones before it have.
enum class Isa { baseline, avx2, avx512, avx512_bf16 };

// The best one; found once.
Isa best_isa() noexcept;

// Makes best_isa() answer no more than this, or less if the machine has less. For tests: what was
// made under one setting must not be used under another.
void set_isa_for_test(Isa most) noexcept;

}  // namespace glance

// A source file that CMake compiles once per instruction set defines its entry points with this
// name: GLANCE_FOR_ISA(f) is f_baseline, f_avx2, f_avx512, f_avx512_bf16. Such a file may share
// with others only code of internal linkage (see math/host_device.h), and keeps the rest in an
// unnamed namespace.
//
// The other half, in the file that picks: GLANCE_PICK_ISA(f) is the one for this machine.
#if defined(GLANCE_X86)
#define GLANCE_PICK_ISA(name)                                              \
  (::glance::best_isa() == ::glance::Isa::avx512_bf16 ? name##_avx512_bf16 \
   : ::glance::best_isa() == ::glance::Isa::avx512    ? name##_avx512      \
   : ::glance::best_isa() == ::glance::Isa::avx2      ? name##_avx2        \
                                                      : name##_baseline)
#else
#define GLANCE_PICK_ISA(name) name##_baseline
#endif

#define GLANCE_JOIN_(name, isa) name##_##isa
#define GLANCE_JOIN(name, isa) GLANCE_JOIN_(name, isa)
#define GLANCE_FOR_ISA(name) GLANCE_JOIN(name, GLANCE_ISA)
