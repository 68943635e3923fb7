#pragma once
#include "clip/core/random.hpp"
#include "clip/core/tensor.hpp"

namespace clip {

/// Each element of `x`, f32 or bf16, is kept with probability 1 - p and then multiplied by 1 / (1 - p), or becomes 0
/// (Srivastava et al. 2014). Element i is kept when word i % 4 of Philox block i / 4, counted from random's offset, is
/// at least p 2^32, so (seed, offset) decides the mask, which is not stored. p = 0 returns `x` and takes no random
/// numbers; that is also how to turn dropout off in evaluation. Throws unless 0 <= p <= 1.
Tensor dropout(const Tensor& x, float p, Random& random);

/// dropout(x, p, random) + residual in one pass over memory. Throws also unless both have one shape, dtype and device.
Tensor dropout_add(const Tensor& x, const Tensor& residual, float p, Random& random);

}  // namespace clip
