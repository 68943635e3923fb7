#include "clip/core/shape.hpp"

#include <sstream>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using clip::test::throws_with;

TEST_CASE("a shape counts, indexes, compares and prints", "[shape]") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 24);
  CHECK(s[0] == 2);
  CHECK(s[-1] == 4);
  CHECK(s.index(-3) == 0);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{0, 5}.numel() == 0);
  CHECK(s == Shape{2, 3, 4});
  CHECK_FALSE(s == Shape{2, 3});
  CHECK_FALSE(s == Shape{2, 3, 5});
  CHECK(s.with(-1, 7) == Shape{2, 3, 7});
  CHECK(s.without(1) == Shape{2, 4});
  CHECK(s.inserted(0, 9) == Shape{9, 2, 3, 4});
  CHECK(s.inserted(3, 9) == Shape{2, 3, 4, 9});
  std::ostringstream out;
  out << s << Shape{};
  CHECK(out.str() == "[2, 3, 4][]");
}

TEST_CASE("rows are all dimensions but the last", "[shape]") {
  CHECK(as_rows({2, 3, 4}).rows == 6);
  CHECK(as_rows({2, 3, 4}).cols == 4);
  CHECK(as_rows({}).rows == 1);
  CHECK(as_rows({5}).rows == 1);
  CHECK(as_rows({3, 0}).rows == 3);  // rows without elements are still rows
  CHECK(split_at({2, 3, 4, 5}, 1).outer == 2);
  CHECK(split_at({2, 3, 4, 5}, 1).extent == 3);
  CHECK(split_at({2, 3, 4, 5}, 1).inner == 20);
}

TEST_CASE("impossible shapes are refused", "[shape]") {
  CHECK(throws_with([] { Shape{1, -2}; }, "[shape] expected extents >= 0, got -2 in dimension 1"));
  CHECK(throws_with([] { (void)Shape({1, 2})[2]; }, "[shape] expected a dimension of [1, 2] (rank 2), got 2"));
  CHECK(throws_with([] { (void)Shape({1, 2})[-3]; }, "got -3"));
  CHECK(throws_with([] { Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}; }, "at most 8 dimensions, got 9"));
  CHECK(throws_with([] { Shape{std::int64_t{1} << 32, std::int64_t{1} << 32}; }, "fewer than 2^63 elements"));
  CHECK(throws_with([] { Shape{std::int64_t{1} << 32, std::int64_t{1} << 32, 0}; }, "fewer than 2^63 elements"));
  CHECK(Shape{std::int64_t{1} << 62, 0}.numel() == 0);
}
