#include "clip/nn/conv_norm.hpp"

#include <utility>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"

namespace clip {

Tensor ConvNorm::operator()(const Tensor& x, Mode mode, Activation f, Tensor residual) {
  if (conv.bias.defined()) {
    check(mode == Mode::inference, "conv_norm", "expected inference once the normalisation is folded, got training");
    return conv2d(x, conv.weight, conv.bias,
                  {.stride = stride, .padding = padding, .activation = f, .residual = std::move(residual)});
  }
  const Tensor y = norm(conv2d(x, conv.weight, {}, {.stride = stride, .padding = padding}), mode);
  return activation(residual.defined() ? y + residual : y, f);
}

void ConvNorm::fold() {
  check(!conv.bias.defined(), "conv_norm", "expected a normalisation that is not folded yet");
  const NoGrad guard;
  std::vector<float> s = norm.weight.to_vector(), shift = norm.bias.to_vector();
  const std::vector<float> mean = norm.running_mean.to_vector(), var = norm.running_var.to_vector();
  for (std::size_t i = 0; i < s.size(); ++i) {
    s[i] /= std::sqrt(var[i] + BatchNormOptions{}.eps);
    shift[i] -= mean[i] * s[i];
  }
  const Device& device = conv.weight.device();
  const std::int64_t out = conv.weight.shape(0);
  conv.weight = conv.weight * Tensor::from(s, {out, 1, 1, 1}, device);
  conv.bias = Tensor::from(shift, {out}, device);
  norm.weight = norm.bias = norm.running_mean = norm.running_var = {};
}

}  // namespace clip
