#pragma once
// AdamW (Loshchilov and Hutter 2019) in f32, over many tensors in one parallel region or launch, in PyTorch's order of
// operations:
//   p -= lr decay p;   m += (1 - beta1) (g - m);   v = beta2 v + (1 - beta2) g g
//   p -= step m / (sqrt(v) correction + eps),   step = lr / (1 - beta1^t),   correction = 1 / sqrt(1 - beta2^t)
#include <cstdint>
#include <span>

#include "kernels/stream.hpp"

namespace clip::kernels {

/// A parameter p, its gradient g, and the running means m of g and v of g^2: `count` elements each.
struct AdamWTensor {
  float *p, *m, *v;
  const float* g;
  std::int64_t count;
  float keep;               ///< 1 - lr decay
  float beta1_rest, beta2;  ///< 1 - beta1, beta2
  float beta2_rest;         ///< 1 - beta2
  float step, correction, eps;
};

}  // namespace clip::kernels

namespace clip::kernels::cpu {

void adamw(std::span<const AdamWTensor> tensors);

/// Sum of squares of n elements: in f32 over blocks whose limits do not depend on threads, in double over blocks.
double sum_of_squares(const float* x, std::int64_t n);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// Blocks of threads that a tensor of `count` elements takes.
constexpr std::int64_t adamw_blocks(std::int64_t count) { return (count + 4095) / 4096; }

/// All in one launch. `tensors` [count] and `first` [count] lie in the GPU's memory; first[i] is the sum of
/// adamw_blocks over the tensors before i, and `blocks` over all. Every gradient is multiplied by *factor, which lies
/// there too, unless it is null.
void adamw(const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count, std::int64_t blocks,
           const float* factor, Stream stream);

/// *factor = what makes the norm of all gradients together `max_norm`: max_norm / (norm + 1e-6), or 1 if that is more.
/// Scratch `partial` [blocks].
void clip_factor(float* factor, double* partial, const AdamWTensor* tensors, const std::int64_t* first,
                 std::int64_t count, std::int64_t blocks, float max_norm, Stream stream);

}  // namespace clip::kernels::cuda
