#pragma once
#include <cstdint>

#include "clip/nn/module.hpp"
#include "clip/ops/layer_norm.hpp"

namespace clip {

/// Layer normalisation of the last dimension, with learnt scale and shift.
struct LayerNorm {
  Tensor weight, bias;
  float eps;

  LayerNorm(std::int64_t size, Init init, float epsilon = 1e-5f)
      : weight(init.constant({size}, 1)), bias(init.constant({size}, 0)), eps(epsilon) {}

  /// Throws as `layer_norm` does.
  Tensor operator()(const Tensor& x) const { return layer_norm(x, weight, bias, eps); }
  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

}  // namespace clip
