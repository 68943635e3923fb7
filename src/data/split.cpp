#include "clip/data/split.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/hash.hpp"

namespace clip {

const char* name_of(Split split) { return split == Split::train ? "train" : split == Split::val ? "val" : "test"; }

std::vector<Split> split_by_name(std::span<const std::string> names, std::uint64_t seed, const SplitShares& shares) {
  check(shares.val >= 0 && shares.test >= 0 && shares.val + shares.test < 1, "split",
        "expected shares in [0, 1) with less than 1 together, got val ", shares.val, " and test ", shares.test);
  std::map<std::pair<std::uint64_t, std::string_view>, Split> order;
  for (const std::string& name : names) order.try_emplace({content_hash(name, seed), name}, Split::train);
  const auto count = [&](double share) {
    return share > 0 ? std::max<std::int64_t>(std::llround(share * static_cast<double>(order.size())), 1) : 0;
  };
  const std::int64_t test = count(shares.test), val = count(shares.val);
  check(test + val < std::ssize(order), "split", "expected more than ", test + val, " pictures, got ", order.size());
  auto at = order.begin();
  for (std::int64_t i = 0; i < test + val; ++i, ++at) at->second = i < test ? Split::test : Split::val;
  std::vector<Split> splits;
  for (const std::string& name : names) splits.push_back(order.at({content_hash(name, seed), name}));
  return splits;
}

std::vector<Split> split_as_book(std::size_t rows, std::uint32_t seed) {
  check(rows <= UINT32_MAX, "split", "expected at most 2^32 rows, got ", rows);
  std::vector<std::uint32_t> order(rows);
  std::iota(order.begin(), order.end(), 0U);
  std::mt19937 random(seed);
  for (std::uint32_t i = static_cast<std::uint32_t>(rows); i-- > 1;) {  // NumPy's legacy shuffle
    const auto mask = static_cast<std::uint32_t>(std::bit_ceil(std::uint64_t{i} + 1) - 1);
    std::uint32_t j;
    do j = static_cast<std::uint32_t>(random()) & mask;
    while (j > i);
    std::swap(order[i], order[j]);
  }
  std::vector<Split> splits(rows, Split::train);
  for (std::size_t i = 0; i < rows / 5; ++i) splits[order[i]] = Split::val;
  return splits;
}

}  // namespace clip
