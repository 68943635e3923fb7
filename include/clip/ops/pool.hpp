#pragma once
#include <cstdint>

#include "clip/core/tensor.hpp"

namespace clip {

struct MaxPool2dOptions {
  std::int64_t kernel = 2;
  std::int64_t stride = 2;
  std::int64_t padding = 0;  ///< on every side; counts as -infinity
};

/// The maximum over square windows of `x` [N, H, W, C], f32 or bf16: [N, (H + 2 padding - kernel) / stride + 1, …, C],
/// rounded down. The gradient goes to the first of equal maxima in window order; a NaN is the maximum. Throws unless
/// kernel and stride are at least 1, padding is at most kernel / 2, and a window fits.
Tensor max_pool2d(const Tensor& x, MaxPool2dOptions options);

/// The mean over height and width: [N, H, W, C] to [N, C]. Throws unless x has rank 4.
Tensor global_avg_pool(const Tensor& x);

}  // namespace clip
