#pragma once
#include <cstdint>

#include "clip/nn/module.hpp"
#include "clip/ops/batch_norm.hpp"

namespace clip {

/// Whether a module computes as while it is trained (batch statistics, dropout) or as in use.
enum class Mode { inference, training };

/// Batch normalisation of each channel, with learnt scale and shift, and running statistics.
struct BatchNorm {
  Tensor weight, bias, running_mean, running_var;

  BatchNorm(std::int64_t channels, Init init)
      : weight(init.constant({channels}, 1)),
        bias(init.constant({channels}, 0)),
        running_mean(init.constant({channels}, 0)),
        running_var(init.constant({channels}, 1)) {}

  /// In training it normalises with the batch's statistics and moves the running ones. Throws as `batch_norm` does.
  Tensor operator()(const Tensor& x, Mode mode) {
    return batch_norm(x, weight, bias, running_mean, running_var, {.training = mode == Mode::training});
  }
  void visit(auto&& v) {
    v("weight", weight);
    v("bias", bias);
    v.buffer("running_mean", running_mean);
    v.buffer("running_var", running_var);
  }
};

}  // namespace clip
