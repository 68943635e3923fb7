#pragma once
#include <cstdint>

#include "clip/nn/layer_norm.hpp"
#include "clip/nn/linear.hpp"
#include "clip/nn/module.hpp"
#include "clip/ops/projection_head.hpp"

namespace clip {

/// The head that maps an encoder's features into the shared space: h = projection(x), then
/// LayerNorm(dropout(fc(gelu(h))) + h). Without `fc` and `norm`, which are then undefined, it is h alone.
struct ProjectionHead {
  Linear projection, fc;
  LayerNorm norm;
  float dropout;

  ProjectionHead(std::int64_t in, std::int64_t out, Init init, float dropout_probability = 0.1f)
      : projection(in, out, init), fc(out, out, init), norm(out, init), dropout(dropout_probability) {}

  /// [N, in] to [N, out]. With `random` it drops elements, as in training. Throws as `projection_head` does.
  Tensor operator()(const Tensor& x, Random* random = nullptr) const {
    if (!fc.weight.defined()) return projection(x);
    return projection_head(x, {projection.weight, projection.bias, fc.weight, fc.bias, norm.weight, norm.bias},
                           {.eps = norm.eps, .dropout = dropout, .random = random});
  }
  /// Leaves the projection alone.
  void make_linear() { fc.weight = fc.bias = norm.weight = norm.bias = Tensor(); }
  void visit(auto&& v) {
    v("projection", projection);
    v("fc", fc);
    v("layer_norm", norm);
  }
};

}  // namespace clip
