#pragma once
#include <memory>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// Tensors that follow others, as averages of a model's weights follow the weights.
class RunningAverage {
 public:
  /// `means[i]` follows `values[i]`. Throws unless both are f32 of one shape, and all on one device.
  RunningAverage(std::vector<Tensor> means, std::vector<Tensor> values);

  /// mean += rest (value - mean) for every element. A GPU is not waited for.
  void update(float rest);

 private:
  std::vector<Tensor> means_, values_;
  std::shared_ptr<void> list_;  // in the GPU's memory
};

}  // namespace clip
