#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// x / max(|x|, eps) along the last dimension, of f32 or bf16, with the Euclidean norm |x| in f32. A row of zeros stays
/// one. Throws on a scalar, on other dtypes, and unless eps > 0.
Tensor l2_normalize(const Tensor& x, float eps = 1e-12f);

}  // namespace clip
