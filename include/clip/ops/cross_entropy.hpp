#pragma once
#include "clip/core/tensor.hpp"

namespace clip {

/// The mean over the rows of -sum_c t_c log softmax(logits)_c, a scalar of logits' dtype, f32 or bf16, accumulated in
/// f32. `logits` are [N, C], or [C] for one row. `targets` are either class indices, i32 or i64, of logits' shape
/// without C, or the t, of logits' shape and dtype, which may need a gradient too. A t of 0 contributes 0 even where
/// the logit is -infinity. Throws on other shapes and dtypes, unless N and C are at least 1, and unless class indices
/// lie within [0, C).
Tensor cross_entropy(const Tensor& logits, const Tensor& targets);

}  // namespace clip
