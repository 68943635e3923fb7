#pragma once
#include <cstdint>

#include "clip/core/tensor.hpp"

namespace clip {

/// The same elements in another shape: a view, free. One extent may be -1 and is inferred. Throws unless the number of
/// elements agrees.
Tensor reshape(const Tensor& x, std::initializer_list<std::int64_t> extents);
Tensor reshape(const Tensor& x, const Shape& shape);

/// Elements [begin, end) along `dim`: a free view for dimension 0, a copy otherwise. Negative bounds count from the
/// end. Throws unless 0 <= begin <= end <= extent.
Tensor slice(const Tensor& x, std::int64_t begin, std::int64_t end, int dim = 0);

}  // namespace clip
