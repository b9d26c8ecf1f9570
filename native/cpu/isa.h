// Which instruction set this machine runs best, of those the library is compiled for.
#pragma once

namespace glance {

enum class Isa { baseline, avx2, avx512 };

// The best one; found once.
Isa best_isa() noexcept;

}  // namespace glance

// A source file that CMake compiles once per instruction set defines its entry points with this
// name: GLANCE_FOR_ISA(f) is f_baseline, f_avx2, f_avx512. Such a file may share with others only
// code of internal linkage (see math/host_device.h), and keeps the rest in an unnamed namespace.
#define GLANCE_JOIN_(name, isa) name##_##isa
#define GLANCE_JOIN(name, isa) GLANCE_JOIN_(name, isa)
#define GLANCE_FOR_ISA(name) GLANCE_JOIN(name, GLANCE_ISA)
