#pragma once
// Philox 4x32-10 (clip/core/random.hpp) for four counters at once, its sixteen words in the order of the stream.
#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {

using u64x8 = std::uint64_t __attribute__((vector_size(64)));

/// The random stream of a seed. A counter's four words lie in two 64-bit lanes, so that a round is: the products of the
/// lanes' lower halves, their words reversed, xor the lanes' upper halves, xor the round's key.
class PhiloxStream {
 public:
  CLIP_INLINE explicit PhiloxStream(std::uint64_t seed) {
    auto low = static_cast<std::uint32_t>(seed), high = static_cast<std::uint32_t>(seed >> 32);
    for (u64x8& key : keys_) {
      key = u64x8{low, high, low, high, low, high, low, high};
      low += 0x9E3779B9u;
      high += 0xBB67AE85u;
    }
  }

  /// Words of the blocks `first` to `first` + 3.
  CLIP_INLINE u32x16 words(std::uint64_t first) const {
    constexpr u64x8 multipliers = {0xD2511F53u, 0xCD9E8D57u, 0xD2511F53u, 0xCD9E8D57u,
                                   0xD2511F53u, 0xCD9E8D57u, 0xD2511F53u, 0xCD9E8D57u};
    u64x8 state = {first, 0, first + 1, 0, first + 2, 0, first + 3, 0};
    for (const u64x8& key : keys_) {
      const u32x16 products = (u32x16)((state & 0xffffffffu) * multipliers);
      const u32x16 reversed =
          __builtin_shufflevector(products, products, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
      state = (u64x8)reversed ^ (state >> 32) ^ key;
    }
    return (u32x16)state;
  }

 private:
  std::array<u64x8, 10> keys_;
};

}  // namespace clip::kernels::cpu
