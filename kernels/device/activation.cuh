#pragma once
// Activations and their derivatives, of f32. GELU is computed as on the CPU (kernels/cpu/math.hpp), from a function
// fitted to 2e-8: CUDA's erff costs as much, and 1 + erf loses the small values' digits.
#include <cuda_runtime.h>

#include <cmath>

#include "clip/core/activation.hpp"

namespace clip::kernels::cuda {

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

/// Phi(-|x|), the standard normal distribution function, and e^(-x^2 / 2); both 0 from |x| = 13.26 on.
struct NormalTail {
  float magnitude, probability, bell;
};
__device__ inline NormalTail normal_tail(float x) {
  const float a = x != x ? x : fminf(13.26f, fabsf(x));
  const float t = __fdividef(1.0f, 1.0f + a * (0.3f * 0.70710678f));
  float p = t * -6.471714478e-02f + 2.425487318e-01f;
  p = p * t - 2.556142593e-01f;
  p = p * t + 2.731986934e-01f;
  p = p * t - 4.681641672e-02f;
  p = p * t + 1.072184658e-01f;
  p = p * t + 7.424113548e-02f;
  p = p * t + 8.534597779e-02f;
  p = p * t + 8.459480686e-02f;
  const float bell = __expf(-0.5f * a * a);
  return {a, bell * p * t, bell};
}

inline constexpr float gelu_tanh_slope = 2 * 0.7978845608f, gelu_tanh_cubic = 0.044715f, quick_gelu_slope = 1.702f;

template <Activation f>
__device__ float activation(float x) {
  if constexpr (f == Activation::relu) return x < 0.0f ? 0.0f : x;
  if constexpr (f == Activation::sigmoid) return sigmoid(x);
  if constexpr (f == Activation::tanh) return tanhf(x);
  if constexpr (f == Activation::gelu) {  // x Phi(x) = max(x, 0) - |x| Phi(-|x|)
    const NormalTail tail = normal_tail(x);
    return (x < 0.0f ? 0.0f : x) - tail.magnitude * tail.probability;
  }
  if constexpr (f == Activation::gelu_tanh)  // (1 + tanh u) / 2 = sigmoid(2 u)
    return x * sigmoid(x * (1.0f + gelu_tanh_cubic * x * x) * gelu_tanh_slope);
  if constexpr (f == Activation::quick_gelu) return x * sigmoid(x * quick_gelu_slope);
  return x;
}

template <Activation f>
__device__ float activation_derivative(float x) {
  if constexpr (f == Activation::relu) return x > 0.0f ? 1.0f : 0.0f;
  if constexpr (f == Activation::sigmoid) {
    const float s = sigmoid(x);
    return s * (1.0f - s);
  }
  if constexpr (f == Activation::tanh) {
    const float t = tanhf(x);
    return 1.0f - t * t;
  }
  if constexpr (f == Activation::gelu) {
    const NormalTail tail = normal_tail(x);
    const float slope = x < 0.0f ? -tail.magnitude : tail.magnitude;
    return (x < 0.0f ? tail.probability : 1.0f - tail.probability) + slope * tail.bell * 0.3989422804f;
  }
  if constexpr (f == Activation::gelu_tanh) {
    const float s = sigmoid(x * (1.0f + gelu_tanh_cubic * x * x) * gelu_tanh_slope);
    return s + x * s * (1.0f - s) * ((1.0f + 3 * gelu_tanh_cubic * x * x) * gelu_tanh_slope);
  }
  if constexpr (f == Activation::quick_gelu) {
    const float s = sigmoid(x * quick_gelu_slope);
    return s + x * s * (1.0f - s) * quick_gelu_slope;
  }
  return 1.0f;
}

/// use.operator()<f>() with `f` as a constant.
template <class Use>
void with_constant(Activation f, const Use& use) {
  switch (f) {
    case Activation::none: return use.template operator()<Activation::none>();
    case Activation::relu: return use.template operator()<Activation::relu>();
    case Activation::sigmoid: return use.template operator()<Activation::sigmoid>();
    case Activation::tanh: return use.template operator()<Activation::tanh>();
    case Activation::gelu: return use.template operator()<Activation::gelu>();
    case Activation::gelu_tanh: return use.template operator()<Activation::gelu_tanh>();
    case Activation::quick_gelu: return use.template operator()<Activation::quick_gelu>();
  }
}

}  // namespace clip::kernels::cuda
