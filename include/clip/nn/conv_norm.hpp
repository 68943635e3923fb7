#pragma once
#include <cmath>
#include <cstdint>

#include "clip/core/activation.hpp"
#include "clip/nn/batch_norm.hpp"
#include "clip/ops/conv2d.hpp"

namespace clip {

/// The weights of a convolution. New ones are normal with variance 2 / (out kernel^2), as in He et al. 2015.
struct Conv2d {
  Tensor weight;     ///< [out, in, kernel, kernel]
  Tensor bias = {};  ///< [out], or undefined

  Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, Init init)
      : weight(init.normal({out, in, kernel, kernel}, std::sqrt(2.0f / static_cast<float>(out * kernel * kernel)))) {}
  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

/// A convolution, batch normalisation, and what follows: activation(norm(conv(x)) + residual), for images NHWC. Folded
/// it is one convolution.
struct ConvNorm {
  Conv2d conv;
  BatchNorm norm;  ///< undefined tensors once folded
  std::int64_t stride, padding;

  /// Pads by kernel / 2, which keeps the image's size where the stride is 1.
  ConvNorm(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t step, Init init)
      : conv(in, out, kernel, init), norm(out, init), stride(step), padding(kernel / 2) {}

  /// Throws as `conv2d` and `batch_norm` do, and in training once folded.
  Tensor operator()(const Tensor& x, Mode mode, Activation activation, Tensor residual = {});

  /// Puts the normalisation into weights and bias: with s = scale / sqrt(var + eps), norm(conv(x, w)) is
  /// conv(x, w s) + shift - mean s. Throws unless the weights are f32, and when done before.
  void fold();
};

}  // namespace clip
