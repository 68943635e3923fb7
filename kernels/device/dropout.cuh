#pragma once
// Dropout's mask (kernels/dropout.hpp), computed where it is needed.
#include "kernels/device/elements.cuh"
#include "kernels/dropout.hpp"

namespace clip::kernels::cuda {

/// Block `index` of the Philox 4x32-10 stream of a seed (clip/core/random.hpp).
__device__ inline void philox(std::uint64_t seed, std::uint64_t index, std::uint32_t (&words)[4]) {
  std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32), c2 = 0, c3 = 0;
  std::uint32_t low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c0, b = std::uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ low;
    c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ high;
    c1 = static_cast<std::uint32_t>(b);
    c3 = static_cast<std::uint32_t>(a);
  }
  words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

/// A DropoutMask with 0 < p <= 1 as kernels use it.
struct Dropped {
  std::uint64_t seed, after_base;
  const std::int64_t* base;
  std::uint32_t last_dropped;
  float scale;

  explicit Dropped(const DropoutMask& mask)
      : seed(mask.seed),
        after_base(mask.offset),
        base(mask.base),
        last_dropped(static_cast<std::uint32_t>(dropout_threshold(mask.p) - 1)),
        scale(1.0f / (1.0f - mask.p)) {}

  /// The mask's first Philox block.
  __device__ std::uint64_t offset() const {
    return after_base + (base == nullptr ? 0 : static_cast<std::uint64_t>(*base));
  }

  /// Which of the elements of `blocks` <= 8 Philox blocks from `block` on are kept: bit i tells of the i-th.
  __device__ std::uint32_t kept(std::uint64_t block, int blocks) const {
    const std::uint64_t first = offset() + block;
    std::uint32_t bits = 0;
    for (int b = 0; b < blocks; ++b) {
      std::uint32_t words[4];
      philox(seed, first + static_cast<unsigned>(b), words);
#pragma unroll
      for (int e = 0; e < 4; ++e) bits |= (words[e] > last_dropped ? 1u : 0u) << (4 * b + e);
    }
    return bits;
  }

  /// Drops or scales the N elements from `i` on, N = 1 or, where i is a multiple of 4, one too.
  template <int N>
  __device__ void apply(std::int64_t i, Floats<N>& x) const {
    const std::uint64_t block = offset() + static_cast<std::uint64_t>(i) / 4;
    std::uint32_t words[4];
    if constexpr (N == 1) {
      philox(seed, block, words);
      x[0] = words[i % 4] > last_dropped ? x[0] * scale : 0.0f;
    } else {
#pragma unroll
      for (int part = 0; part < N / 4; ++part) {
        philox(seed, block + static_cast<unsigned>(part), words);
        for (int e = 0; e < 4; ++e) {
          float& value = x[4 * part + e];
          value = words[e] > last_dropped ? value * scale : 0.0f;
        }
      }
    }
  }
};

}  // namespace clip::kernels::cuda
