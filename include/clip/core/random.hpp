#pragma once
#include <array>
#include <cstdint>

#include "clip/core/tensor.hpp"

namespace clip {

/// Philox 4x32-10: four random 32-bit words from a 128-bit counter and a 64-bit key, ten rounds.
/// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

/// Block `index` of the random stream that `seed` names: words 4*index to 4*index + 3.
constexpr std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t index) {
  return philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0},
                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

/// A place in a counter-based random stream. The same (seed, offset) gives the same numbers for every thread count
/// and device; saving the two numbers saves the generator.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t offset = 0) : seed_(seed), offset_(offset) {}
  /// A place that a GPU looks up: `base`, i64 [] in its memory, is added to every offset when a kernel draws numbers,
  /// so that what a graph recorded draws others at each replay after `base` was written to. For dropout on that GPU
  /// only. Keep `base` until the last such kernel, also of backward, was started.
  Random(std::uint64_t seed, const Tensor& base) : seed_(seed), offset_(0), base_(base) {}
  std::uint64_t seed() const { return seed_; }
  /// Philox blocks (of four words) used so far, beyond `base`.
  std::uint64_t offset() const { return offset_; }
  /// Undefined: nothing is added to offsets.
  const Tensor& base() const { return base_; }
  /// Takes the blocks for `words` numbers; returns the offset of the first. What is left of the last block is skipped.
  std::uint64_t reserve(std::int64_t words) {
    const std::uint64_t first = offset_;
    offset_ += (static_cast<std::uint64_t>(words) + 3) / 4;
    return first;
  }

 private:
  std::uint64_t seed_, offset_;
  Tensor base_;
};

/// Standard normal numbers by Box-Muller, computed on the CPU in double whatever the device, so that they agree.
Tensor randn(const Shape& shape, Random& random, dtype type = dtype::f32, const Device& device = {});
/// Uniform numbers in [0, 1): the upper 24 bits of each word.
Tensor rand(const Shape& shape, Random& random, dtype type = dtype::f32, const Device& device = {});

}  // namespace clip
