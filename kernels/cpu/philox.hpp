#pragma once
// Philox 4x32-10 (clip/core/random.hpp) for eight counters at once.
#include <cstdint>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {

using u64x8 = std::uint64_t __attribute__((vector_size(64)));

/// Thirty-two words of a stream, in its order.
struct PhiloxWords {
  u32x16 first, second;
};

/// The random stream of a seed. Eight counters at once, each word in the lower half of a 64-bit lane, where products
/// leave it: the upper halves hold what comes along and are ignored until the end.
class PhiloxStream {
 public:
  CLIP_INLINE explicit PhiloxStream(std::uint64_t seed)
      : low_(static_cast<std::uint32_t>(seed)), high_(static_cast<std::uint32_t>(seed >> 32)) {}

  /// Words of the blocks `first` to `first` + 7.
  CLIP_INLINE PhiloxWords words(std::uint64_t first) const {
    constexpr std::uint64_t lower = 0xffffffffu;
    const u64x8 index = u64x8{0, 1, 2, 3, 4, 5, 6, 7} + first;
    u64x8 c0 = index, c1 = index >> 32, c2 = {}, c3 = {};
    std::uint32_t low = low_, high = high_;
    for (int round = 0; round < 10; ++round, low += 0x9E3779B9u, high += 0xBB67AE85u) {
      const u64x8 a = (c0 & lower) * 0xD2511F53u, b = (c2 & lower) * 0xCD9E8D57u;
      c0 = (b >> 32) ^ c1 ^ low;
      c2 = (a >> 32) ^ c3 ^ high;
      c1 = b;
      c3 = a;
    }
    const u64x8 c01 = (c0 & lower) | (c1 << 32), c23 = (c2 & lower) | (c3 << 32);
    return {(u32x16)__builtin_shufflevector(c01, c23, 0, 8, 1, 9, 2, 10, 3, 11),
            (u32x16)__builtin_shufflevector(c01, c23, 4, 12, 5, 13, 6, 14, 7, 15)};
  }

 private:
  std::uint32_t low_, high_;
};

}  // namespace clip::kernels::cpu
