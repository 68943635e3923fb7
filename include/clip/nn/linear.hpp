#pragma once
#include <cmath>
#include <cstdint>
#include <utility>

#include "clip/nn/module.hpp"
#include "clip/ops/linear.hpp"

namespace clip {

/// x w^T + b: [.., in] to [.., out]. New weights and biases are uniform within 1 / sqrt(in), as in PyTorch.
struct Linear {
  Tensor weight, bias;

  Linear(std::int64_t in, std::int64_t out, Init init)
      : weight(init.uniform({out, in}, 1 / std::sqrt(static_cast<float>(in)))),
        bias(init.uniform({out}, 1 / std::sqrt(static_cast<float>(in)))) {}

  /// Throws as `linear` does.
  Tensor operator()(const Tensor& x, LinearOptions options = {}) const {
    return linear(x, weight, bias, std::move(options));
  }
  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
  }
};

}  // namespace clip
