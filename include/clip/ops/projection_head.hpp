#pragma once
#include "clip/core/random.hpp"
#include "clip/core/tensor.hpp"

namespace clip {

/// The learnt tensors of a projection head; biases and scales are [out].
struct ProjectionWeights {
  const Tensor &projection, &projection_bias;  ///< [out, in], [out]
  const Tensor &fc, &fc_bias;                  ///< [out, out], [out]
  const Tensor &norm, &norm_bias;              ///< LayerNorm's scale and shift
};

struct ProjectionOptions {
  float eps = 1e-5f;         ///< LayerNorm's
  float dropout = 0;         ///< probability of dropping an element
  Random* random = nullptr;  ///< where dropout takes its numbers; without it nothing is dropped
};

/// h = x projection^T + projection_bias; y = gelu(h) fc^T + fc_bias; LayerNorm(dropout(y) + h), with the erf GELU: the
/// head of the recipe, x [N, in] to [N, out], f32 or bf16, in fewer passes over memory than the ops it is made of.
/// Throws on other dtypes and ranks, when shapes, dtypes or devices do not agree, and unless 0 <= dropout <= 1.
Tensor projection_head(const Tensor& x, const ProjectionWeights& weights, const ProjectionOptions& options = {});

}  // namespace clip
