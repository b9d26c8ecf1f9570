// Fibers: stacks that one thread of the CPU changes between.
#pragma once

#include <cstddef>

namespace glance_emulator {

struct Fiber {
  // Where it goes on.
  void *state = nullptr;
  void *stack = nullptr;
  size_t stack_bytes = 0;
  // The address sanitizer's.
  void *fake_stack = nullptr;
};

// A stack of its own for the fiber number `index`; kept for the next one with this number.
void allocate_stack(Fiber &fiber, size_t index);

// Has the fiber begin with entry(), which must not return.
void prepare(Fiber &fiber, void (*entry)());

// Leaves `from`, the fiber that runs, for `to`; returns when somebody changes back.
void change(Fiber &from, Fiber &to);
// Leaves for good.
[[noreturn]] void leave(Fiber &from, Fiber &to);
// To be called first in entry().
void entered();

}  // namespace glance_emulator
