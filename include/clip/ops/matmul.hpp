#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

struct MatmulOptions {
  bool transpose_a = false;  ///< a is [.., K, M]
  bool transpose_b = false;  ///< b is [.., N, K]
};

/// The matrix products of a [.., M, K] and b [.., K, N]: [.., M, N]. The leading dimensions, which number the matrices,
/// agree, or b has none and serves all of a's. f32 or bf16, summed in f32; an empty sum (K = 0) is 0. Throws on other
/// dtypes, on operands of rank < 2, and when shapes, dtypes or devices do not agree.
Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options = {});

}  // namespace clip
