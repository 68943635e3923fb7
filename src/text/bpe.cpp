#include "src/text/bpe.hpp"

#include <algorithm>
#include <cstddef>
#include <queue>
#include <tuple>

namespace clip {

Bpe::Bpe(const std::array<std::int32_t, 256>& inner, const std::array<std::int32_t, 256>& last,
         const std::vector<Merge>& merges)
    : inner_(inner), last_(last) {
  struct Ranked {
    std::int32_t left;
    Rule rule;
  };
  std::vector<Ranked> all;
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    all.push_back({merges[i].left, {merges[i].right, static_cast<std::int32_t>(i), merges[i].merged}});
    largest = std::max(largest, merges[i].left);
  }
  std::sort(all.begin(), all.end(), [](const Ranked& a, const Ranked& b) {
    return std::tie(a.left, a.rule.right, b.rule.rank) < std::tie(b.left, b.rule.right, a.rule.rank);
  });  // of equal pairs the last rank first: it counts
  first_.resize(static_cast<std::size_t>(largest) + 2);
  for (const Ranked& one : all) ++first_[static_cast<std::size_t>(one.left) + 1];
  for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  for (const Ranked& one : all) rules_.push_back(one.rule);
}

const Bpe::Rule* Bpe::rule(std::int32_t left, std::int32_t right) const {
  const auto at = static_cast<std::size_t>(left);
  if (at + 1 >= first_.size()) return nullptr;
  const auto end = rules_.begin() + first_[at + 1];
  const auto found = std::lower_bound(rules_.begin() + first_[at], end, right,
                                      [](const Rule& r, std::int32_t id) { return r.right < id; });
  return found == end || found->right != right ? nullptr : &*found;
}

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  constexpr std::uint32_t none = UINT32_MAX;
  struct Symbol {
    std::int32_t id;
    std::uint32_t previous, next;
  };
  struct Candidate {
    std::int32_t rank, merged;
    std::uint32_t left;
    std::int32_t left_id, right_id;                 // it holds while these are there
    bool operator<(const Candidate& other) const {  // a queue gives its largest
      return std::tie(rank, left) > std::tie(other.rank, other.left);
    }
  };
  const auto size = static_cast<std::uint32_t>(word.size());
  std::vector<Symbol> symbols(size);
  for (std::uint32_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    symbols[i] = {(i + 1 == size ? last_ : inner_)[byte], i == 0 ? none : i - 1, i + 1 == size ? none : i + 1};
  }
  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::uint32_t left) {
    if (left == none || symbols[left].next == none) return;
    const std::int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    if (const Rule* r = rule(left_id, right_id)) queue.push({r->rank, r->merged, left, left_id, right_id});
  };
  for (std::uint32_t i = 0; i + 1 < size; ++i) consider(i);
  for (; !queue.empty();) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.left];
    if (left.id != best.left_id || left.next == none || symbols[left.next].id != best.right_id) continue;
    Symbol& right = symbols[left.next];
    left.id = best.merged;
    right.id = -1;  // gone: no candidate holds for it any more
    left.next = right.next;
    if (left.next != none) symbols[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (std::uint32_t i = 0; i != none; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace clip
