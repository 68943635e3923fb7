#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// e^x / sum e^x along the last dimension, of f32 or bf16 with statistics in f32. A row that is -infinity everywhere is
/// NaN. Throws on a scalar and on other dtypes.
Tensor softmax(const Tensor& x);

/// log(softmax(x)) along the last dimension, computed as x - max - log sum e^(x - max). Throws as softmax does.
Tensor log_softmax(const Tensor& x);

}  // namespace clip
