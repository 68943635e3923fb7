#pragma once
// AdamW (Loshchilov and Hutter 2019) in f32, over many tensors in one parallel region or launch, in PyTorch's order of
// operations:
//   p -= lr decay p;   m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g g
//   p -= step m / (sqrt(v) correction + eps),   step = lr / (1 - beta1^t),   correction = 1 / sqrt(1 - beta2^t)
// Every gradient is multiplied first by the factor that clips them all together.
#include <cstdint>
#include <span>

#include "kernels/stream.hpp"
#include "kernels/tensor_list.hpp"

namespace clip::kernels {

/// How a group of tensors is moved.
struct AdamWSettings {
  double lr, weight_decay, beta1, beta2, eps;
};

/// A parameter p, its gradient g, and the running means m of g and v of g^2: `count` elements each. Its rates are made
/// of how often it has been moved, and its settings.
struct AdamWTensor {
  float *p, *m, *v;
  const float* g;
  std::int64_t count;
  std::int64_t* steps;
  const AdamWSettings* settings;
};

/// How far a step moves a tensor.
struct AdamWRates {
  float keep;               ///< 1 - lr decay
  float beta1_rest, beta2;  ///< 1 - beta1, beta2
  float beta2_rest;         ///< 1 - beta2
  float step, correction, eps;
};

/// Those of a tensor's next step, which is counted; `sqrt` of a double. Without pow, which differs from machine to
/// machine.
template <class Sqrt>
constexpr AdamWRates next_rates(const AdamWTensor& of, Sqrt sqrt) {
  const AdamWSettings& s = *of.settings;
  const std::int64_t t = ++*of.steps;
  const auto rest = [t](double beta) {  // 1 - beta^t
    double power = 1;
    for (std::int64_t n = t; n > 0; n /= 2, beta *= beta)
      if (n % 2 == 1) power *= beta;
    return 1 - power;
  };
  return {.keep = static_cast<float>(1 - s.lr * s.weight_decay),
          .beta1_rest = static_cast<float>(1 - s.beta1),
          .beta2 = static_cast<float>(s.beta2),
          .beta2_rest = static_cast<float>(1 - s.beta2),
          .step = static_cast<float>(s.lr / rest(s.beta1)),
          .correction = static_cast<float>(1 / sqrt(rest(s.beta2))),
          .eps = static_cast<float>(s.eps)};
}

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// `rates` has one entry for each tensor.
void adamw(std::span<const AdamWTensor> tensors, const AdamWRates* rates, float factor);

/// What makes the norm of all gradients together `max_norm`: max_norm / (norm + 1e-6), or 1 if that is more. Squares
/// are summed in f32 over blocks whose limits do not depend on threads, in double over blocks.
float clip_factor(std::span<const AdamWTensor> tensors, float max_norm);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// rates[i] = those of the next step of tensor i, in the GPU's memory as its settings.
void adamw_rates(AdamWRates* rates, const TensorList<AdamWTensor>& tensors, Stream stream);

/// All in one launch. `rates` [count] and the factor lie in the GPU's memory; no factor, null, is 1.
void adamw(const TensorList<AdamWTensor>& tensors, const AdamWRates* rates, const float* factor, Stream stream);

/// *factor = what the CPU's clip_factor gives. Scratch `partial` [blocks].
void clip_factor(float* factor, double* partial, const TensorList<AdamWTensor>& tensors, float max_norm, Stream stream);

}  // namespace clip::kernels::cuda
