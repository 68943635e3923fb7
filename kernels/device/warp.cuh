#pragma once
// Sums and maxima over the lanes of a warp, always made in the same order, and sets of lanes as bits.
#include <cuda_runtime.h>

#include <cmath>

namespace clip::kernels::cuda {

inline constexpr unsigned all_lanes = ~0u;

/// The place of the lowest bit that is set, of some. (What <bit> has for it is the host's: nvcc leaves of that on the
/// GPU, without a word, only what it gives for 0.)
__device__ inline int lowest_bit(unsigned bits) { return 31 - __clz(static_cast<int>(bits & (0 - bits))); }

/// Each x becomes what `op` makes of those that `Lanes` neighbouring lanes have, 2, 4, … or 32. Several at once wait
/// for their shuffles together. By the whole warp.
template <int Lanes, class Op, class... V>
__device__ __forceinline__ void over_lanes(const Op& op, V&... x) {
  for (int bits = Lanes / 2; bits > 0; bits /= 2) ((x = op(x, __shfl_xor_sync(all_lanes, x, bits))), ...);
}
template <int Lanes = 32, class... V>
__device__ __forceinline__ void warp_sum(V&... x) {
  over_lanes<Lanes>([](auto a, auto b) { return a + b; }, x...);
}
template <int Lanes = 32>
__device__ __forceinline__ void warp_max(float& x) {
  over_lanes<Lanes>([](float a, float b) { return fmaxf(a, b); }, x);
}

}  // namespace clip::kernels::cuda
