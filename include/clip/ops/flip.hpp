#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// A copy with dimension `dim` in reverse: along 2, pictures [N, H, W, C] as in a mirror. Throws when it is out of
/// range.
Tensor flip(const Tensor& x, int dim);

}  // namespace clip
