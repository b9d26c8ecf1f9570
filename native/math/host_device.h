// How the formulas in this folder compile for both host and device.
#pragma once

// Internal linkage matters on the host: the same formula is compiled once per instruction set, and
// were it a weak symbol the linker could hand the AVX-512 copy to the baseline code.
#ifdef __CUDACC__
#define GLANCE_MATH static __host__ __device__ __forceinline__
#else
#define GLANCE_MATH static inline __attribute__((always_inline))
#endif
