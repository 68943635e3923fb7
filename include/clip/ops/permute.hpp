#pragma once
#include <initializer_list>

#include "clip/core/tensor.hpp"

namespace clip {

/// A copy with the dimensions reordered: dimension d of the result is dimension `order[d]` of `x`. Throws unless
/// `order` names every dimension once.
Tensor permute(const Tensor& x, std::initializer_list<int> order);

/// A copy with two dimensions exchanged. Throws when one is out of range.
Tensor transpose(const Tensor& x, int dim0 = -2, int dim1 = -1);

}  // namespace clip
