#include "clip/ops/view.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference_slice(const Array& x, std::int64_t begin, std::int64_t end, int dim) {
  Array y(x.shape.with(dim, end - begin));
  std::int64_t outer = 1, inner = 1;
  for (int d = 0; d < x.shape.rank(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : x.shape[d];
  for (std::int64_t o = 0; o < outer; ++o)
    for (std::int64_t k = begin; k < end; ++k)
      for (std::int64_t i = 0; i < inner; ++i)
        y[(o * (end - begin) + k - begin) * inner + i] = x[(o * x.shape[dim] + k) * inner + i];
  return y;
}

}  // namespace

TEST_CASE("reshape is a free view whose gradient has the old shape", "[ops]") {
  const Tensor x = Tensor::of({{1, 2, 3}, {4, 5, 6}}).requires_grad();
  const Tensor y = reshape(x, {3, -1});
  CHECK(y.shape() == Shape{3, 2});
  CHECK(y.storage() == x.storage());
  backward(sum(mul(y, y)));
  CHECK(x.grad().shape() == Shape{2, 3});
  CHECK(x.grad().to_vector() == std::vector<float>{2, 4, 6, 8, 10, 12});
  CHECK(reshape(zeros({0, 3}), {0, 7}).shape() == Shape{0, 7});
  CHECK(reshape(Tensor::of({5}), {}).shape() == Shape{});
  for (const std::int64_t n : awkward)
    check_op(
        "reshape",
        [=](auto& in) {
          return reshape(in[0], {n, 2});
        },
        [=](const std::vector<Array>& in) {
          Array flat({n, 2});
          flat.values = in[0].values;
          return flat;
        },
        {random_array({2, n})});
}

TEST_CASE("slices agree with a double loop along every dimension", "[ops]") {
  for (int dim = 0; dim < 3; ++dim)
    for (const auto& [begin, end] : {std::pair{0, 0}, {0, 1}, {1, 4}, {4, 5}, {0, 5}})
      check_op(
          "slice", [=, begin = begin, end = end](auto& in) { return slice(in[0], begin, end, dim); },
          [=, begin = begin, end = end](auto& in) { return reference_slice(in[0], begin, end, dim); },
          {random_array(Shape{3, 7, 65}.with(dim, 5))});
  const Tensor x = Tensor::of({{1, 2}, {3, 4}, {5, 6}});
  CHECK(slice(x, 1, 2).storage() == x.storage());
  CHECK(slice(x, -2, -1).to_vector() == std::vector<float>{3, 4});
  CHECK(slice(zeros({0, 2}), 0, 0).shape() == Shape{0, 2});
}

TEST_CASE("views refuse what does not fit", "[ops]") {
  CHECK(throws_with(
      [] {
        reshape(zeros({2, 3}), {4});
      },
      "[reshape] expected a shape of 6 elements as [2, 3] has, got [4]"));
  CHECK(throws_with([] { reshape(zeros({2, 3}), {4, -1}); }, "expected extents that divide 6 elements, got 4"));
  CHECK(throws_with([] { reshape(zeros({2, 3}), {-1, -1}); }, "at most one extent of -1"));
  CHECK(throws_with([] { reshape(zeros({2, 3}), {-2, -3}); }, "[reshape] expected extents >= 0 or one -1, got -2"));
  CHECK(throws_with(
      [] {
        reshape(zeros({2}), {std::int64_t{1} << 40, std::int64_t{1} << 40, -1});
      },
      "fewer than 2^63 elements"));
  CHECK(throws_with([] { reshape(Tensor(), {1}); }, "[reshape] expected a defined tensor, got an undefined one"));
  CHECK(throws_with(
      [] {
        slice(zeros({2, 3}), 1, 4, 1);
      },
      "[slice] expected bounds within 0 and 3 of [2, 3], got [1, 4)"));
  CHECK(throws_with([] { slice(zeros({2, 3}), 2, 1); }, "got [2, 1)"));
  CHECK(throws_with([] { slice(zeros({}), 0, 1); }, "[slice] expected a dimension"));
}
