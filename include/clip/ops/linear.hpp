#pragma once
#include "clip/core/activation.hpp"
#include "clip/core/tensor.hpp"

namespace clip {

struct LinearOptions {
  Activation activation = Activation::none;
  Tensor residual = {};  ///< of the output's shape; moved in, its memory becomes the output's when nobody else holds
                         ///< it, and a graph that read it can't run backward any more
};

/// activation(x w^T + bias + residual) for x [.., in], w [out, in] and bias [out]: [.., out]. f32 or bf16, summed in
/// f32. While autograd records nothing it is one pass, rounded once, and weights are copied into a faster layout when
/// first used and again after they were written to. Throws on other dtypes and when shapes, dtypes or devices do not
/// agree.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {}, LinearOptions options = {});

}  // namespace clip
