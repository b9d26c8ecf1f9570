#include "tests/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace glance_emulator {
namespace {

// A kernel's parameters alone may take 32 KB.
constexpr size_t kStackBytes = 256 << 10;
// Stacks begin at different places of their pages, or all would share a few lines of the cache.
constexpr size_t kColours = 128;
constexpr size_t kColourBytes = 9 * 64;

// The fiber that the last change left.
Fiber *left = nullptr;

}  // namespace

#if defined(__x86_64__)

// Saves what a function must keep, on the stack, and goes on where the other stack was left.
extern "C" void glance_emulator_change(void **from, void *to);
asm(R"(
.text
.type glance_emulator_change, @function
glance_emulator_change:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size glance_emulator_change, .-glance_emulator_change
)");

namespace {
void change_stacks(Fiber &from, Fiber &to) { glance_emulator_change(&from.state, to.state); }
}  // namespace

void prepare(Fiber &fiber, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  uintptr_t top = reinterpret_cast<uintptr_t>(fiber.stack) + fiber.stack_bytes;
  top &= ~uintptr_t{15};
  // As after a call: the return address of entry, of which there is none, is not aligned to 16.
  void **place = reinterpret_cast<void **>(top);
  *--place = nullptr;
  *--place = reinterpret_cast<void *>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--place = nullptr;
  fiber.state = place;
  fiber.fake_stack = nullptr;
}

#else

// Slower: every change asks the system for the mask of signals.
namespace {
void change_stacks(Fiber &from, Fiber &to) {
  ucontext_t context;
  from.state = &context;
  swapcontext(&context, static_cast<ucontext_t *>(to.state));
}
}  // namespace

void prepare(Fiber &fiber, void (*entry)()) {
  // At the far end of the stack, where it is free again once the fiber has begun.
  auto *context = static_cast<ucontext_t *>(fiber.stack);
  getcontext(context);
  context->uc_stack.ss_sp = fiber.stack;
  context->uc_stack.ss_size = fiber.stack_bytes;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  fiber.state = context;
  fiber.fake_stack = nullptr;
}

#endif

void allocate_stack(Fiber &fiber, size_t index) {
  static std::vector<unsigned char *> *stacks = new std::vector<unsigned char *>;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  while (stacks->size() <= index) {
    void *memory = mmap(nullptr, page + kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    // Running over its end stops the program.
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
      std::fprintf(stderr, "emulated CUDA: no memory for a stack\n");
      std::abort();
    }
    stacks->push_back(static_cast<unsigned char *>(memory) + page);
  }
  fiber.stack = (*stacks)[index];
  fiber.stack_bytes = kStackBytes - index % kColours * kColourBytes;
}

void entered() {
#if defined(__SANITIZE_ADDRESS__)
  const void *stack = nullptr;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &left->stack_bytes);
  left->stack = const_cast<void *>(stack);
#endif
}

void change(Fiber &from, Fiber &to) {
  left = &from;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
  change_stacks(from, to);
#if defined(__SANITIZE_ADDRESS__)
  const void *stack = nullptr;
  __sanitizer_finish_switch_fiber(from.fake_stack, &stack, &left->stack_bytes);
  left->stack = const_cast<void *>(stack);
#endif
}

void leave(Fiber &from, Fiber &to) {
  left = &from;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, to.stack, to.stack_bytes);
#endif
  change_stacks(from, to);
  std::abort();
}

}  // namespace glance_emulator
