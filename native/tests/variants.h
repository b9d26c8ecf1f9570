// Where the tests run, and the ways in which an operation is computed there. The environment
// variable GLANCE_TEST_DEVICE says where: cpu (the default), cuda, or emulated, which is CUDA's
// code on the CPU, some thousand times slower than either.
#pragma once

#include <glance/core.h>
#include <glance/lora_linear.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support.h"

namespace glance_test {

inline const std::string &device_name() {
  static const std::string name = [] {
    const char *set = std::getenv("GLANCE_TEST_DEVICE");
    return std::string(set != nullptr ? set : "cpu");
  }();
  return name;
}

inline bool emulated() { return device_name() == "emulated"; }

inline glance_device device() { return device_name() == "cpu" ? GLANCE_CPU : GLANCE_CUDA; }

inline bool on_cuda() { return device() == GLANCE_CUDA; }

// The types that operations take there.
inline std::vector<glance_dtype> dtypes() {
  if (on_cuda()) return {GLANCE_F32, GLANCE_BF16, GLANCE_F16};
  return {GLANCE_F32, GLANCE_BF16};
}

// A number that no operation takes for a type there.
inline glance_dtype wrong_dtype() { return on_cuda() ? GLANCE_F16 + 1 : GLANCE_F16; }

// Of the cases of a long sweep, one in this many is run: fewer where each costs more. Which ones
// depends on the seed.
inline unsigned sweep_step(unsigned on_device, unsigned on_emulator) {
  if (emulated()) return kSweepStep > 1 ? 4 * on_emulator : on_emulator;
  return on_cuda() ? on_device : kSweepStep;
}

struct Variant {
  // On the CPU.
  glance::Isa isa = glance::Isa::baseline;
  // On CUDA; of lora_linear alone.
  glance_matmul matmul = GLANCE_MATMUL_AUTO;
};

inline std::string name(const Variant &v) {
  if (!on_cuda()) return name(v.isa);
  const char *const matmuls[] = {"", " mma", " wgmma"};
  return device_name() + matmuls[v.matmul];
}

// On the CPU the instruction sets of this machine, the least first; on CUDA a single one.
inline std::vector<Variant> variants() {
  if (on_cuda()) return {Variant{}};
  std::vector<Variant> all;
  for (const glance::Isa isa : isas()) all.push_back({isa, GLANCE_MATMUL_AUTO});
  return all;
}

// Whether the device has compute capability 9.0.
inline bool has_wgmma() {
  static const bool has = [] {
    glance_cuda_device info = {};
    info.struct_size = sizeof info;
    return glance_cuda_device_info(0, &info) == GLANCE_OK && info.compute_major == 9 &&
           info.compute_minor == 0;
  }();
  return has;
}

// Those of lora_linear: on CUDA one for each code that multiplies.
inline std::vector<Variant> matmul_variants() {
  if (!on_cuda()) return variants();
  std::vector<Variant> all(has_wgmma() ? 3 : 2);
  for (size_t i = 0; i < all.size(); ++i) all[i].matmul = static_cast<glance_matmul>(i);
  return all;
}

// The matmul that calls of lora_linear are made with.
inline glance_matmul &current_matmul() {
  static glance_matmul matmul = GLANCE_MATMUL_AUTO;
  return matmul;
}

// Every call from here to the end of the scope is computed this way.
class UseVariant {
 public:
  explicit UseVariant(const Variant &v) : isa_(v.isa) { current_matmul() = v.matmul; }
  ~UseVariant() { current_matmul() = GLANCE_MATMUL_AUTO; }
  UseVariant(const UseVariant &) = delete;
  UseVariant &operator=(const UseVariant &) = delete;

 private:
  UseIsa isa_;
};

// Calls check(dtype) for every type in each of these ways, up to the first fatal failure.
template <typename Check>
void for_each_variant(const std::vector<Variant> &all, const Check &check) {
  for (const Variant &v : all) {
    for (const glance_dtype dtype : dtypes()) {
      SCOPED_TRACE(name(v) + " " + name(dtype) + " seed=" + std::to_string(first_seed()));
      const UseVariant use(v);
      check(dtype);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

template <typename Check>
void for_each_variant(const Check &check) {
  for_each_variant(variants(), check);
}

}  // namespace glance_test

// For tests of what is only on the CPU: threads, packed panels, mapped files.
#define GLANCE_CPU_ONLY() \
  if (glance_test::on_cuda()) GTEST_SKIP() << "of the CPU only"
