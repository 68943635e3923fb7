#pragma once
#include <initializer_list>

#include "clip/core/tensor.hpp"

namespace clip {

// Reductions of f32 or bf16, accumulated in f32. The empty sum is 0; the empty mean is NaN.
// `dims` name the dimensions reduced (negative ones count from the end), which `keep` leaves in the shape with
// extent 1. All throw when a dimension is out of range or named twice.

/// Sum of all elements, a scalar.
Tensor sum(const Tensor& x);
Tensor sum(const Tensor& x, std::initializer_list<int> dims, bool keep = false);
/// Mean of all elements, a scalar.
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, std::initializer_list<int> dims, bool keep = false);
/// The largest element along `dim`; its gradient goes to the first of equals. Throws when the dimension is empty.
Tensor max(const Tensor& x, int dim, bool keep = false);

/// Sums `x` over the dimensions along which `shape` would be broadcast to `x.shape()`: the gradient of broadcasting.
/// `x` itself where the shapes are equal. Throws when `shape` does not broadcast to x's.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace clip
