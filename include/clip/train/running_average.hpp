#pragma once
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// Tensors that follow others, as averages of a model's weights follow the weights.
class RunningAverage {
 public:
  /// `means[i]` follows `values[i]`. Throws unless both are f32 of one shape, and all on one device.
  RunningAverage(std::vector<Tensor> means, std::vector<Tensor> values);

  /// mean += rest (value - mean) for every element. `rest` is one f32 on the tensors' device, which a GPU reads: a
  /// graph that recorded this takes what is there at its replay. A GPU is not waited for. Throws on another.
  void update(const Tensor& rest);

 private:
  std::vector<Tensor> means_, values_;
};

}  // namespace clip
