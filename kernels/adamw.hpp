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

/// A parameter p, its gradient g, and the running means m of g and v of g^2: `count` elements each.
struct AdamWTensor {
  float *p, *m, *v;
  const float* g;
  std::int64_t count;
  bool operator==(const AdamWTensor&) const = default;
};

/// How far a step moves a tensor.
struct AdamWRates {
  float keep;               ///< 1 - lr decay
  float beta1_rest, beta2;  ///< 1 - beta1, beta2
  float beta2_rest;         ///< 1 - beta2
  float step, correction, eps;
};

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// `rates` has one entry for each tensor.
void adamw(std::span<const AdamWTensor> tensors, const AdamWRates* rates, float factor);

/// What makes the norm of all gradients together `max_norm`: max_norm / (norm + 1e-6), or 1 if that is more. Squares
/// are summed in f32 over blocks whose limits do not depend on threads, in double over blocks.
float clip_factor(std::span<const AdamWTensor> tensors, float max_norm);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// All in one launch. `rates` [count] and the factor lie in the GPU's memory; no factor, null, is 1.
void adamw(const TensorList<AdamWTensor>& tensors, const AdamWRates* rates, const float* factor, Stream stream);

/// *factor = what the CPU's clip_factor gives. Scratch `partial` [blocks].
void clip_factor(float* factor, double* partial, const TensorList<AdamWTensor>& tensors, float max_norm, Stream stream);

}  // namespace clip::kernels::cuda
