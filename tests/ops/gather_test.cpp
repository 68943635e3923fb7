#include "clip/ops/gather.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Tensor some_indices(const Shape& shape, std::int64_t limit) {
  const Array numbers = random_array(shape, 0, static_cast<double>(limit) - 0.01, 3);
  return Tensor::from(std::vector<std::int64_t>(numbers.values.begin(), numbers.values.end()), shape);
}

Array reference(const Array& x, int dim, const Tensor& index) {
  Array y(index.shape());
  const std::vector<std::int64_t> at = index.to_vector<std::int64_t>();
  std::int64_t inner = 1;
  for (int d = dim + 1; d < x.shape.rank(); ++d) inner *= x.shape[d];
  const std::int64_t n = x.shape[dim], m = y.shape[dim];
  for (std::int64_t i = 0; i < y.shape.numel(); ++i)
    y[i] = x[(i / (m * inner) * n + at[static_cast<std::size_t>(i)]) * inner + i % inner];
  return y;
}

void check_gather(const Shape& shape, int dim, std::int64_t count) {
  const Tensor index = some_indices(shape.with(dim, count), shape[dim]);
  check_op(
      "gather", [&](auto& in) { return gather(in[0], dim, to(index, in[0].device())); },
      [&](auto& in) { return reference(in[0], dim, index); }, {random_array(shape)});
}

}  // namespace

TEST_CASE("gather agrees with a loop and its gradient with differences", "[ops]") {
  for (const std::int64_t n : awkward) {
    for (const std::int64_t count : {0, 1, 40}) {
      if (n == 0 && count > 0) continue;  // nothing to choose
      check_gather({2, n, 3}, 1, count);
      check_gather({n, 5}, 0, count);
      check_gather({4, n}, 1, count);
      check_gather({n}, 0, count);
    }
    check_gather({3, 7, n}, 1, 9);
  }
}

TEST_CASE("gather takes any dtype, either index and a negative dimension", "[ops]") {
  for (const dtype index : {dtype::i32, dtype::i64})
    for (const dtype type : {dtype::f32, dtype::bf16, dtype::f16, dtype::i32, dtype::i64, dtype::u8}) {
      const Tensor y = gather(Tensor::of({{1, 2, 3}, {4, 5, 6}}, type), -1, Tensor::of({{2, 2}, {0, 1}}, index));
      CHECK(y.dtype() == type);
      CHECK(to(y, dtype::f32).to_vector() == std::vector<float>{3, 3, 4, 5});
    }
}

TEST_CASE("gather's gradient is summed in f32, the same for any number of threads", "[ops]") {
  Tensor x = zeros({2, 3}, dtype::bf16).requires_grad();
  backward(gather(x, 1, ones({2, 1000}, dtype::i32)), ones({2, 1000}, dtype::bf16));
  CHECK(to_array(x.grad()).values == std::vector<double>{0, 1000, 0, 0, 1000, 0});

  const Tensor index = some_indices({3, 500, 100}, 20);
  const Tensor dy = to_tensor(random_array({3, 500, 100}));
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Tensor z = zeros({3, 20, 100}).requires_grad();
    backward(gather(z, 1, index), dy);
    results.push_back(z.grad().to_vector());
  }
  set_num_threads(before);
  CHECK(results[1] == results[0]);
  CHECK(results[2] == results[0]);
}

TEST_CASE("gather says what it cannot take", "[ops]") {
  const Tensor x = ones({2, 3});
  CHECK(throws_with(
      [&] {
        gather(x, 1, Tensor::of({{0, 1}, {2, 3}}, dtype::i32));
      },
      "[gather] expected indices within [0, 3), got 3 at [1, 1]"));
  CHECK(throws_with(
      [&] {
        gather(x, 0, Tensor::of({{0, -1, 0}}, dtype::i64));
      },
      "[gather] expected indices within [0, 2), got -1 at [0, 1]"));
  CHECK(throws_with(
      [&] {
        gather(x, 1, zeros({1, 3}, dtype::i32));
      },
      "[gather] expected an index of the shape [2, 3] but in dimension 1, got [1, 3]"));
  CHECK(throws_with([&] { gather(x, 1, zeros({2}, dtype::i32)); }, "but in dimension 1, got [2]"));
  CHECK(throws_with([&] { gather(x, 2, zeros({2, 3}, dtype::i32)); }, "expected a dimension of [2, 3]"));
  CHECK(throws_with([&] { gather(x, 1, zeros({2, 3})); }, "[gather] expected i32 or i64, got f32"));
  const Tensor half = to(ones({2, 3}).requires_grad(), dtype::f16);
  CHECK(throws_with([&] { gather(half, 1, zeros({2, 3}, dtype::i32)); }, "where a gradient is needed, got f16"));
}
