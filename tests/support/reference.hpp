#pragma once
// Double-precision references that several tests share.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "clip/core/activation.hpp"

namespace clip::test {

inline double reference_activation(Activation f, double x) {
  switch (f) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu: return x / 2 * std::erfc(-x / std::numbers::sqrt2);
    case Activation::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu: return x / (1 + std::exp(-1.702 * x));
  }
  return x;
}

}  // namespace clip::test
