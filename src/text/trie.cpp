#include "src/text/trie.hpp"

#include <algorithm>
#include <cstring>
#include <deque>

namespace clip {

Trie::Trie(std::vector<std::pair<std::string, std::int32_t>> keys) : nodes_(1), bytes_(1) {
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  struct Range {  // the keys that pass through a node share their first `depth` bytes
    std::size_t first, last, depth;
  };
  std::deque<Range> ranges{{0, keys.size(), 0}};
  for (std::size_t node = 0; node < nodes_.size(); ++node) {  // breadth first, so that siblings are neighbours
    auto [first, last, depth] = ranges.front();
    ranges.pop_front();
    for (; first < last && keys[first].first.size() == depth; ++first)
      if (depth > 0) nodes_[node].value = keys[first].second;
    nodes_[node].children = static_cast<std::uint32_t>(nodes_.size());
    while (first < last) {
      const char byte = keys[first].first[depth];
      std::size_t end = first;
      while (end < last && keys[end].first[depth] == byte) ++end;
      ++nodes_[node].count;
      nodes_.emplace_back();
      bytes_.push_back(static_cast<unsigned char>(byte));
      ranges.push_back({first, end, depth + 1});
      first = end;
    }
  }
  for (std::uint32_t child = 1; child <= nodes_[0].count; ++child) roots_[bytes_[child]] = child;
}

Trie::Match Trie::walk(std::string_view text, std::uint32_t node) const {
  Match match;
  for (std::size_t depth = 1;; ++depth) {
    const Node& here = nodes_[node];
    if (here.value >= 0) match = {depth, here.value};
    if (depth == text.size() || here.count == 0) return match;
    const unsigned char* const children = bytes_.data() + here.children;
    const void* const found = std::memchr(children, static_cast<unsigned char>(text[depth]), here.count);
    if (found == nullptr) return match;
    node = here.children + static_cast<std::uint32_t>(static_cast<const unsigned char*>(found) - children);
  }
}

}  // namespace clip
