#include "src/io/checksum.hpp"

#include <algorithm>
#include <cstring>

namespace clip {
namespace {

/// One-to-one in each of its arguments.
std::uint64_t step(std::uint64_t hash, std::uint64_t word) { return (hash ^ word) * 0x100000001b3; }

}  // namespace

std::uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr std::size_t chains = 4;
  std::uint64_t hash[chains] = {1, 2, 3, 4}, words[chains];
  for (std::size_t at = 0; at < bytes.size(); at += sizeof words) {
    const std::size_t count = std::min(sizeof words, bytes.size() - at);
    if (count < sizeof words) std::fill_n(words, chains, 0);
    std::memcpy(words, bytes.data() + at, count);
    for (std::size_t i = 0; i < chains; ++i) hash[i] = step(hash[i], words[i]);
  }
  std::uint64_t all = step(0xcbf29ce484222325, bytes.size());
  for (const std::uint64_t chain : hash) all = step(all, chain);
  return all;
}

}  // namespace clip
