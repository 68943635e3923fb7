#pragma once
// Activation functions and their derivatives:
//   gelu        x Phi(x), Phi the normal distribution function ("erf GELU")
//   gelu_tanh   x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
//   quick_gelu  x sigmoid(1.702 x)
// Computed in f32 and rounded once to T = float or bf16, on the GPU also f16.
#include <cstdint>

#include "clip/core/activation.hpp"
#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

template <class T>
void activation_forward(Activation f, T* y, const T* x, std::int64_t n);

/// dx = dy f'(x)
template <class T>
void activation_backward(Activation f, T* dx, const T* dy, const T* x, std::int64_t n);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void activation_forward(Activation f, T* y, const T* x, std::int64_t n, Stream stream);
template <class T>
void activation_backward(Activation f, T* dx, const T* dy, const T* x, std::int64_t n, Stream stream);

}  // namespace clip::kernels::cuda
