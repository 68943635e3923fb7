// One pass over memory each; the arithmetic of the costliest (about 30 instructions for 16 elements) hides behind it.
#include "kernels/activation.hpp"

#include "kernels/cpu/math.hpp"

namespace clip::kernels::cpu {
namespace {

constexpr float sqrt_2_over_pi = 0.7978845608f, cubic = 0.044715f, quick = 1.702f, inv_sqrt_2_pi = 0.3989422804f;

/// Calls `use(forward, derivative)` with the pair of functions that `f` names.
template <class Use>
void with_functions(Activation f, const Use& use) {
  using V = f32x16;
  switch (f) {
    case Activation::none:
      return use(
          [](V x) __attribute__((always_inline)) { return x; },
          [](V) __attribute__((always_inline)) { return splat(1); });
    case Activation::relu:  // NaN passes, and has derivative 0
      return use(
          [](V x) __attribute__((always_inline)) { return x < 0.0f ? splat(0) : x; },
          [](V x) __attribute__((always_inline)) { return x > 0.0f ? splat(1) : splat(0); });
    case Activation::sigmoid:
      return use(
          [](V x) __attribute__((always_inline)) { return sigmoid(x); }, [](V x) __attribute__((always_inline)) {
            const V s = sigmoid(x);
            return s * (1.0f - s);
          });
    case Activation::tanh:
      return use(
          [](V x) __attribute__((always_inline)) { return tanh(x); }, [](V x) __attribute__((always_inline)) {
            const V t = tanh(x);
            return 1.0f - t * t;
          });
    case Activation::gelu:  // x Phi(x) = max(x, 0) - |x| Phi(-|x|)
      return use(
          [](V x) __attribute__((always_inline)) {
            const NormalTail tail = normal_tail(x);
            return max(splat(0), x) - tail.magnitude * tail.probability;
          },
          [](V x) __attribute__((always_inline)) {
            const NormalTail tail = normal_tail(x);
            const V slope = x < 0.0f ? -tail.magnitude : tail.magnitude;
            return (x < 0.0f ? tail.probability : 1.0f - tail.probability) + slope * tail.bell * inv_sqrt_2_pi;
          });
    case Activation::gelu_tanh:  // (1 + tanh u) / 2 = sigmoid(2 u)
      return use(
          [](V x)
              __attribute__((always_inline)) { return x * sigmoid(x * (1.0f + cubic * x * x) * (2 * sqrt_2_over_pi)); },
          [](V x) __attribute__((always_inline)) {
            const V s = sigmoid(x * (1.0f + cubic * x * x) * (2 * sqrt_2_over_pi));
            return s + x * s * (1.0f - s) * ((1.0f + 3 * cubic * x * x) * (2 * sqrt_2_over_pi));
          });
    case Activation::quick_gelu:
      return use(
          [](V x) __attribute__((always_inline)) { return x * sigmoid(x * quick); },
          [](V x) __attribute__((always_inline)) {
            const V s = sigmoid(x * quick);
            return s + x * s * (1.0f - s) * quick;
          });
  }
}

}  // namespace

template <class T>
void activation_forward(Activation f, T* y, const T* x, std::int64_t n) {
  const bool streamed = should_stream<T>(n);
  with_functions(f, [&](auto forward, auto) {
    parallel_elements(n, [=](std::int64_t begin, std::int64_t end) { map(y, begin, end, streamed, forward, x); });
  });
}

template <class T>
void activation_backward(Activation f, T* dx, const T* dy, const T* x, std::int64_t n) {
  const bool streamed = should_stream<T>(n);
  with_functions(f, [&](auto, auto derivative) {
    parallel_elements(n, [=](std::int64_t begin, std::int64_t end) {
      map(
          dx, begin, end,
          streamed, [=](f32x16 g, f32x16 v) __attribute__((always_inline)) { return g * derivative(v); }, dy, x);
    });
  });
}

template void activation_forward(Activation, float*, const float*, std::int64_t);
template void activation_forward(Activation, bf16*, const bf16*, std::int64_t);
template void activation_backward(Activation, float*, const float*, const float*, std::int64_t);
template void activation_backward(Activation, bf16*, const bf16*, const bf16*, std::int64_t);

}  // namespace clip::kernels::cpu
