#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

// Elementwise arithmetic in f32 or bf16. Operands broadcast as in NumPy: shapes are aligned at their last dimension,
// and an extent of 1, or a missing dimension, is repeated. The gradient of a repeated operand is summed over the
// repeats. All throw on other dtypes, when dtypes or devices differ, and when shapes do not broadcast.

/// a + b
Tensor add(const Tensor& a, const Tensor& b);
/// a - b
Tensor sub(const Tensor& a, const Tensor& b);
/// a * b, element by element
Tensor mul(const Tensor& a, const Tensor& b);
/// a / b, element by element
Tensor div(const Tensor& a, const Tensor& b);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }

/// A copy of `x` repeated to `shape` as broadcasting does; `x` itself when it has that shape. Throws when it does not
/// broadcast to it.
Tensor expand(const Tensor& x, const Shape& shape);

/// factor * x + shift
Tensor scale(const Tensor& x, float factor, float shift = 0);

/// e^x; results below the smallest normal number are 0.
Tensor exp(const Tensor& x);
/// Natural logarithm; -infinity at 0, NaN below.
Tensor log(const Tensor& x);

}  // namespace clip
