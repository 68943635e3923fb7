#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// Elements of `x` chosen along `dim` by `index` (i32 or i64): for dim = 1, y[i][j][k] = x[i][index[i][j][k]][k]. `x`
/// and `index` have the same rank and, but for `dim`, the same extents; the result has index's shape and x's dtype,
/// any. An element chosen more than once gets the sum of its gradients, accumulated in f32. Throws on other shapes and
/// unless every index lies within the extent of `dim`; throws when an f16 `x` needs a gradient.
Tensor gather(const Tensor& x, int dim, const Tensor& index);

}  // namespace clip
