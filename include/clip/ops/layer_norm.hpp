#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// Normalises `x` [.., D], f32 or bf16, along its last dimension to mean 0 and variance 1, then scales and shifts it:
/// (x - mean) / sqrt(var + eps) * weight + bias with the biased variance, statistics in f32 (Ba et al. 2016).
/// `weight` and `bias` are [D], in x's dtype or f32. Throws on other shapes, dtypes and devices.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps = 1e-5f);

}  // namespace clip
