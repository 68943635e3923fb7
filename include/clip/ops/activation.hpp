#pragma once
#include "clip/core/activation.hpp"
#include "clip/core/tensor.hpp"

namespace clip {

/// The function `f` names, elementwise on f32 or bf16 of any shape. Throws on other dtypes.
Tensor activation(const Tensor& x, Activation f);

/// max(x, 0); derivative 0 at 0.
inline Tensor relu(const Tensor& x) { return activation(x, Activation::relu); }
/// 1 / (1 + e^-x)
inline Tensor sigmoid(const Tensor& x) { return activation(x, Activation::sigmoid); }
/// Hyperbolic tangent, (e^x - e^-x) / (e^x + e^-x)
inline Tensor tanh(const Tensor& x) { return activation(x, Activation::tanh); }
/// x Phi(x) with the normal distribution function Phi (Hendrycks & Gimpel 2016, the exact form).
inline Tensor gelu(const Tensor& x) { return activation(x, Activation::gelu); }
/// Its tanh approximation: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
inline Tensor gelu_tanh(const Tensor& x) { return activation(x, Activation::gelu_tanh); }
/// Its sigmoid approximation, OpenAI CLIP's: x sigmoid(1.702 x).
inline Tensor quick_gelu(const Tensor& x) { return activation(x, Activation::quick_gelu); }

}  // namespace clip
