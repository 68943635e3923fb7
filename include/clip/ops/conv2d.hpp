#pragma once
#include <cstdint>

#include "clip/core/activation.hpp"
#include "clip/core/tensor.hpp"

namespace clip {

struct Conv2dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;  ///< zeros around the image, on every side
  Activation activation = Activation::none;
  Tensor residual = {};  ///< of the output's shape; moved in, its memory becomes the output's when nobody else holds
                         ///< it, and a graph that read it can't run backward any more
};

/// activation(conv + bias + residual) for images x [N, H, W, in], w [out, in, kernel height, kernel width] and bias
/// [out]: [N, Ho, Wo, out] with Ho = (H + 2 padding - kernel height) / stride + 1, rounded down, where
///   conv[n, i, j, o] = sum over c, p, q of w[o, c, p, q] x[n, i stride + p - padding, j stride + q - padding, c].
/// f32 or bf16, summed in f32. Fused, and its weights copied, as `linear` does. Throws on other dtypes, when shapes,
/// dtypes or devices do not agree, and when the kernel is larger than the padded image.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias = {}, Conv2dOptions options = {});

}  // namespace clip
