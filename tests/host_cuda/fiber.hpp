#pragma once
#include <cstddef>
#include <functional>

namespace clip::host_cuda {

/// A function with a stack of its own, run piece by piece: `resume` goes on with it until it calls `suspend` or
/// returns. A fiber whose function has returned can be started again; so can one that was given up in the middle, whose
/// locals are then forgotten, not destroyed. AddressSanitizer is told of every switch.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Makes `resume` begin `body`, which must not throw.
  void start(std::function<void()> body);
  void resume();
  /// Called by the body: returns from `resume`, and goes on when it is called again.
  void suspend();

 private:
  [[noreturn]] static void enter();

  std::function<void()> body_;
  char* memory_;  ///< a page that must not be touched, then the stack, which grows down towards it
  void* here_ = nullptr;
  void* caller_ = nullptr;
  // AddressSanitizer's: the stack that resumed us, and what it keeps of each side while the other runs
  const void* caller_stack_ = nullptr;
  std::size_t caller_size_ = 0;
  void *caller_shadow_ = nullptr, *shadow_ = nullptr;
};

}  // namespace clip::host_cuda
