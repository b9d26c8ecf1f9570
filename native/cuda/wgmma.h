// Hopper's matrix instruction, wgmma (PTX ISA, section on asynchronous warpgroup-level matrix
// instructions), for BF16 and F16 with f32 sums.
#pragma once

#include "cuda/ptx.h"

#ifdef GLANCE_EMULATED_CUDA
#include "tests/emulator/wgmma.h"
#else

// Machine code for exactly this architecture (sm_90a) has it; elsewhere these functions are empty,
// and the launcher never gets there.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define GLANCE_HAS_WGMMA
#endif

namespace glance {

// Before the first wgmma, and again after the accumulators were touched otherwise.
GLANCE_DEVICE void wgmma_fence() {
#ifdef GLANCE_HAS_WGMMA
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// Closes a group of products.
GLANCE_DEVICE void wgmma_commit() {
#ifdef GLANCE_HAS_WGMMA
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Waits until at most kGroups of the latest groups are not done: only then may their accumulators
// be read and their operands' shared memory be written.
template <int kGroups>
GLANCE_DEVICE void wgmma_wait() {
#ifdef GLANCE_HAS_WGMMA
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
#endif
}

// Gives registers back to, or takes them from, the block's pool; a whole warpgroup at once.
template <int kRegisters>
GLANCE_DEVICE void fewer_registers() {
#ifdef GLANCE_HAS_WGMMA
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
GLANCE_DEVICE void more_registers() {
#ifdef GLANCE_HAS_WGMMA
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

// Describes an operand in shared memory: rows of 64 elements (128 bytes), K inside, 128-byte
// swizzle, its first row aligned to 1024 bytes. The next 16 of K lie kWgmmaNextK further.
constexpr uint64_t kWgmmaNextK = 2;
GLANCE_DEVICE uint64_t wgmma_operand(const void *shared) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kEightRows = uint64_t{1024 >> 4} << 32;
  constexpr uint64_t kUnusedHere = uint64_t{1} << 16;
  return kSwizzle128 | kEightRows | kUnusedHere | ((shared_address(shared) & 0x3FFFFu) >> 4);
}

// One m64nNk16 product of a warpgroup, added to d or, with accumulate 0, in place of it. Thread t
// of the 128 holds of row 16 (t / 32) + t % 32 / 4 + 8 j, columns 8 i + 2 (t % 4) and the next, in
// d[4 i + 2 j] and d[4 i + 2 j + 1]. Asynchronous: see wgmma_wait.

#define GLANCE_WGMMA_128(type)                                                                     \
  asm volatile(                                                                                    \
      "{\n"                                                                                        \
      ".reg .pred p;\n"                                                                            \
      "setp.ne.b32 p, %66, 0;\n"                                                                   \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                                 \
      " {"                                                                                         \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "                                         \
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "                               \
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "                               \
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                               \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "                               \
      "%60, %61, %62, %63"                                                                         \
      "}, %64, %65, p, 1, 1, 0, 0;\n"                                                              \
      "}"                                                                                          \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),        \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
        "+f"(d[63])                                                                                \
      : "l"(a), "l"(b), "r"(accumulate))

template <typename T>
GLANCE_DEVICE void wgmma(float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
#ifdef GLANCE_HAS_WGMMA
  if constexpr (std::is_same_v<T, f16>) {
    GLANCE_WGMMA_128("f16");
  } else {
    GLANCE_WGMMA_128("bf16");
  }
#endif
}

#undef GLANCE_WGMMA_128

#define GLANCE_WGMMA_192(type)                                                                     \
  asm volatile(                                                                                    \
      "{\n"                                                                                        \
      ".reg .pred p;\n"                                                                            \
      "setp.ne.b32 p, %98, 0;\n"                                                                   \
      "wgmma.mma_async.sync.aligned.m64n192k16.f32." type "." type                                 \
      " {"                                                                                         \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "                                         \
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "                               \
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "                               \
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                               \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "                               \
      "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, "                               \
      "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "                               \
      "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"                                 \
      "}, %96, %97, p, 1, 1, 0, 0;\n"                                                              \
      "}"                                                                                          \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),        \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
        "+f"(d[63]), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), \
        "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), \
        "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), \
        "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), \
        "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])                            \
      : "l"(a), "l"(b), "r"(accumulate))

template <typename T>
GLANCE_DEVICE void wgmma(float (&d)[96], uint64_t a, uint64_t b, int accumulate) {
#ifdef GLANCE_HAS_WGMMA
  if constexpr (std::is_same_v<T, f16>) {
    GLANCE_WGMMA_192("f16");
  } else {
    GLANCE_WGMMA_192("bf16");
  }
#endif
}

#undef GLANCE_WGMMA_192

#define GLANCE_WGMMA_256(type)                                                                     \
  asm volatile(                                                                                    \
      "{\n"                                                                                        \
      ".reg .pred p;\n"                                                                            \
      "setp.ne.b32 p, %130, 0;\n"                                                                  \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                                 \
      " {"                                                                                         \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "                                         \
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "                               \
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "                               \
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                               \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "                               \
      "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, "                               \
      "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "                               \
      "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                               \
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, "                       \
      "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, "                   \
      "%120, %121, %122, %123, %124, %125, %126, %127"                                             \
      "}, %128, %129, p, 1, 1, 0, 0;\n"                                                            \
      "}"                                                                                          \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),        \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
        "+f"(d[63]), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), \
        "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), \
        "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), \
        "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), \
        "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]), "+f"(d[97]), \
        "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),          \
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]),        \
        "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]),        \
        "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]),        \
        "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])         \
      : "l"(a), "l"(b), "r"(accumulate))

template <typename T>
GLANCE_DEVICE void wgmma(float (&d)[128], uint64_t a, uint64_t b, int accumulate) {
#ifdef GLANCE_HAS_WGMMA
  if constexpr (std::is_same_v<T, f16>) {
    GLANCE_WGMMA_256("f16");
  } else {
    GLANCE_WGMMA_256("bf16");
  }
#endif
}

#undef GLANCE_WGMMA_256

}  // namespace glance
#endif
