// A switch of stacks by hand: ucontext's makes a system call each time, which is ten times slower, and a kernel's test
// switches a million times.
#include "tests/host_cuda/fiber.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>

#ifdef CLIP_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
namespace {
void __sanitizer_start_switch_fiber(void**, const void*, std::size_t) {}
void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*) {}
void __asan_unpoison_memory_region(const void*, std::size_t) {}
}  // namespace
#endif

#ifndef __x86_64__
#error "the host executor switches stacks on x86-64 only"
#endif

/// Keeps the registers that a call preserves on this stack, notes where in *from, and takes up the stack `to`.
extern "C" void clip_switch_stack(void** from, void* to);
asm(R"(
  .text
  .type clip_switch_stack, @function
clip_switch_stack:
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
  .size clip_switch_stack, .-clip_switch_stack
)");

namespace clip::host_cuda {
namespace {

constexpr std::size_t page = 4096, stack_size = 31 * page;  // frames are several times larger with sanitizers

Fiber* entering = nullptr;  // what `enter` begins

}  // namespace

Fiber::Fiber() {
  void* const memory =
      mmap(nullptr, page + stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
}

Fiber::~Fiber() { munmap(memory_, page + stack_size); }

void Fiber::start(std::function<void()> body) {
  body_ = std::move(body);
  __asan_unpoison_memory_region(memory_ + page, stack_size);  // what a body given up has left
  // as if `enter` had been called from nowhere, and had switched away before its first instruction
  auto* top = reinterpret_cast<std::uintptr_t*>(memory_ + page + stack_size);
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(&Fiber::enter);
  for (int saved = 0; saved < 6; ++saved) *--top = 0;
  here_ = top;
  shadow_ = nullptr;
}

void Fiber::resume() {
  entering = this;
  __sanitizer_start_switch_fiber(&caller_shadow_, memory_ + page, stack_size);
  clip_switch_stack(&caller_, here_);
  __sanitizer_finish_switch_fiber(caller_shadow_, nullptr, nullptr);
}

void Fiber::suspend() {
  __sanitizer_start_switch_fiber(&shadow_, caller_stack_, caller_size_);
  clip_switch_stack(&here_, caller_);
  __sanitizer_finish_switch_fiber(shadow_, &caller_stack_, &caller_size_);
}

void Fiber::enter() {
  Fiber& fiber = *entering;
  __sanitizer_finish_switch_fiber(nullptr, &fiber.caller_stack_, &fiber.caller_size_);
  fiber.body_();
  for (;;) fiber.suspend();
}

}  // namespace clip::host_cuda
