#pragma once
// Running averages of many f32 tensors in one parallel region or launch: mean += rest (value - mean).
#include <cstdint>
#include <span>

#include "kernels/stream.hpp"
#include "kernels/tensor_list.hpp"

namespace clip::kernels {

/// `count` elements each.
struct AveragedTensor {
  float* mean;
  const float* value;
  std::int64_t count;
};

namespace cpu {
void running_average(std::span<const AveragedTensor> tensors, float rest);
}

namespace cuda {
/// `rest` lies in the GPU's memory.
void running_average(const TensorList<AveragedTensor>& tensors, const float* rest, Stream stream);
}  // namespace cuda

}  // namespace clip::kernels
