#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace clip {

/// A prefix tree: finds the longest of its keys that a text starts with, in time linear in that key. A node's children
/// lie side by side, sorted by their bytes, so there is no hash that a file could be made to defeat.
class Trie {
 public:
  /// Of equal keys the last counts. Empty keys are left out.
  explicit Trie(std::vector<std::pair<std::string, std::int32_t>> keys = {});

  struct Match {
    std::size_t length = 0;  ///< 0: no key fits
    std::int32_t value = -1;
  };
  Match longest(std::string_view text) const {
    if (text.empty() || roots_[static_cast<unsigned char>(text[0])] == 0) return {};
    return walk(text, roots_[static_cast<unsigned char>(text[0])]);
  }

 private:
  struct Node {
    std::uint32_t children = 0;  // the first of them
    std::int32_t value = -1;     // of the key that ends here
    std::uint16_t count = 0;     // of children
  };
  Match walk(std::string_view text, std::uint32_t node) const;

  std::vector<Node> nodes_;                    // of which the first is the root
  std::vector<unsigned char> bytes_;           // the byte that leads to each node
  std::array<std::uint32_t, 256> roots_ = {};  // the root's child for each byte
};

}  // namespace clip
