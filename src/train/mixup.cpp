#include "clip/train/mixup.hpp"

#include <vector>

#include "clip/core/error.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"

namespace clip {

Tensor mixup_weights(std::int64_t rows, double share, std::uint64_t seed, std::int64_t step) {
  check(rows >= 0 && share >= 0 && share <= 1, "mixup", "expected no fewer than 0 rows and a share of 0 to 1, got ",
        rows, " and ", share);
  std::vector<float> weights(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    // "mixu" keeps these numbers apart from all others that the seed names
    const auto words = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(step), 0, 0x7578696d},
                              {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    weights[i] = words[0] * 0x1p-32 < share ? static_cast<float>(words[1]) * 0x1p-32F : 1;
  }
  return Tensor::from(weights, {rows});
}

Tensor mixup(const Tensor& x, const Tensor& weights) {
  check(x.rank() > 0 && weights.shape() == Shape{x.shape(0)}, "mixup", "expected rows and a weight for each, got ",
        x.shape(), " and ", weights.shape());
  const std::int64_t rows = x.shape(0);
  if (rows < 2) return x;
  const std::int64_t row = x.numel() / rows;
  const Tensor next = concat({x.view(row, x.shape().with(0, rows - 1)), x.view(0, x.shape().with(0, 1))});
  Shape column = x.shape();
  for (int i = 1; i < x.rank(); ++i) column = column.with(i, 1);
  const Tensor own = to(weights, x.device()).view(0, column);
  return x * own + next * scale(own, -1, 1);
}

}  // namespace clip
