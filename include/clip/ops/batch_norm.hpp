#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

struct BatchNormOptions {
  bool training = false;  ///< normalise with the statistics of `x` itself, and update the running ones
  float momentum = 0.1f;  ///< the weight of this batch in the running statistics
  float eps = 1e-5f;
};

/// Normalises each channel of `x` [.., C] (NHWC; f32 or bf16), then scales and shifts it:
/// (x - mean) / sqrt(var + eps) * weight + bias (Ioffe & Szegedy 2015). Statistics are f32: in inference
/// `running_mean` and `running_var`; in training those of x, its variance biased for normalising and unbiased where the
/// running statistics, f32 [C], are updated in place: running = (1 - momentum) running + momentum batch. `weight` and
/// `bias` are [C], in x's dtype or f32. Throws on other shapes, dtypes and devices, and in training when x has fewer
/// than two values a channel.
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& running_mean, Tensor& running_var,
                  BatchNormOptions options = {});

}  // namespace clip
