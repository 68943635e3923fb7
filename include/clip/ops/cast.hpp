#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// The elements converted to `type`; `x` itself when they have it already. Floats round to nearest even; to integers
/// they truncate and saturate. Differentiable between floating dtypes; throws when `x` needs a gradient and `type` is
/// an integer.
Tensor to(const Tensor& x, dtype type);

/// The tensor on `device`; `x` itself when it is there already. Differentiable.
Tensor to(const Tensor& x, const Device& device);

}  // namespace clip
