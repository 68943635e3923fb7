#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace clip {

/// Byte-pair encoding (Sennrich et al., "Neural machine translation of rare words with subword units", 2016) over
/// bytes: a word's neighbours are merged, those of the earliest rule first, from left to right. Takes n log n in a
/// word's length.
class Bpe {
 public:
  struct Merge {
    std::int32_t left, right, merged;  ///< their order is their rank
  };
  /// `inner` and `last`: the token of each byte within a word and at its end.
  Bpe(const std::array<std::int32_t, 256>& inner, const std::array<std::int32_t, 256>& last,
      const std::vector<Merge>& merges);

  /// Appends the tokens of a word, which is not empty.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  struct Rule {
    std::int32_t right, rank, merged;
  };
  const Rule* rule(std::int32_t left, std::int32_t right) const;

  std::array<std::int32_t, 256> inner_, last_;
  std::vector<std::uint32_t> first_;  // of each left token's rules
  std::vector<Rule> rules_;           // by left, then by right
};

}  // namespace clip
