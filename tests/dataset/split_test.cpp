#include "clip/data/split.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using test::throws_with;

std::vector<std::string> some_names(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(std::to_string(i) + ".jpg");
  return names;
}
std::map<Split, int> counts(const std::vector<Split>& splits) {
  std::map<Split, int> count;
  for (const Split split : splits) ++count[split];
  return count;
}

TEST_CASE("names and seed alone decide the split", "[split]") {
  std::vector<std::string> names = some_names(8091);
  const std::vector<Split> splits = split_by_name(names, 1);
  CHECK(counts(splits) == std::map<Split, int>{{Split::train, 6473}, {Split::val, 809}, {Split::test, 809}});
  CHECK(split_by_name(names, 1) == splits);
  CHECK(split_by_name(names, 2) != splits);
  std::reverse(names.begin(), names.end());
  names.push_back(names.front());
  std::vector<Split> reversed = split_by_name(names, 1);
  CHECK(reversed.back() == reversed.front());
  reversed.pop_back();
  std::reverse(reversed.begin(), reversed.end());
  CHECK(reversed == splits);
  // neighbours do not share a split more often than chance has it
  int same = 0;
  for (std::size_t i = 1; i < splits.size(); ++i) same += splits[i] == Split::test && splits[i - 1] == Split::test;
  CHECK(same > 50);
  CHECK(same < 115);
}

TEST_CASE("small data sets have every split", "[split]") {
  CHECK(counts(split_by_name(some_names(3), 0)) ==
        std::map<Split, int>{{Split::train, 1}, {Split::val, 1}, {Split::test, 1}});
  CHECK(counts(split_by_name(some_names(10), 0, {.val = 0, .test = 0.5})) ==
        std::map<Split, int>{{Split::train, 5}, {Split::test, 5}});
  CHECK(throws_with([] { split_by_name(some_names(2), 0); }, "expected more than 2 pictures, got 2"));
  CHECK(throws_with([] { split_by_name(some_names(9), 0, {.val = 0.5, .test = 0.5}); }, "expected shares"));
}

TEST_CASE("the book's split is NumPy's", "[split]") {
  // NumPy 2.4.6: np.random.seed(42); np.random.choice(np.arange(n), n // 5, replace=False)
  const auto chosen = [](std::size_t rows) {
    std::vector<std::uint64_t> validated;
    const std::vector<Split> splits = split_as_book(rows);
    for (std::size_t i = 0; i < rows; ++i)
      if (splits[i] == Split::val) validated.push_back(i);
    return validated;
  };
  CHECK(chosen(10) == std::vector<std::uint64_t>{1, 8});
  CHECK(chosen(40) == std::vector<std::uint64_t>{4, 12, 15, 16, 19, 26, 27, 37});
  const std::vector<std::uint64_t> all = chosen(40455);
  std::uint64_t sum = 0, squares = 0;
  for (const std::uint64_t i : all) sum += i, squares += i * i;
  CHECK(all.size() == 8091);
  CHECK(sum == 163877783);
  CHECK(squares == 4445294730053);
  CHECK(chosen(0).empty());
  CHECK(chosen(4).empty());
}

}  // namespace
}  // namespace clip
