#pragma once
// Pairs blended with others of their batch, so that few pictures are not learnt by heart (Zhang et al. 2018, "mixup:
// Beyond empirical risk minimization").
#include <cstdint>

#include "clip/core/tensor.hpp"

namespace clip {

/// f32 [N], on the CPU: how much of each row stays its own. 1, but for a `share` of the rows, at random, where it is
/// uniform in 0 to 1. Seed and step decide. Throws when N is negative or the share not in 0 to 1.
Tensor mixup_weights(std::int64_t rows, double share, std::uint64_t seed, std::int64_t step);

/// Each row x_i of `x` f32 [N, …] as w_i x_i + (1 - w_i) x_(i+1), the last with the first. Both sides of the pairs are
/// to be blended by the same weights, f32 [N]. Throws on other shapes and types.
Tensor mixup(const Tensor& x, const Tensor& weights);

}  // namespace clip
