#include "clip/ops/embedding.hpp"

#include <numeric>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// `count` ids below `entries`, in no order, with repetitions.
std::vector<std::int64_t> some_ids(std::int64_t count, std::int64_t entries) {
  const Array numbers = random_array({count}, 0, static_cast<double>(entries) - 0.01, 5);
  return {numbers.values.begin(), numbers.values.end()};
}

Array reference(const Array& table, const std::vector<std::int64_t>& ids) {
  const std::int64_t dim = table.shape[1];
  Array y({static_cast<std::int64_t>(ids.size()), dim});
  for (std::int64_t i = 0; i < y.shape.numel(); ++i)
    y[i] = table[ids[static_cast<std::size_t>(i / dim)] * dim + i % dim];
  return y;
}

}  // namespace

TEST_CASE("embedding agrees with a loop and its gradient with differences", "[ops]") {
  for (const std::int64_t dim : awkward)
    for (const std::int64_t count : {0, 1, 40}) {
      const std::vector<std::int64_t> ids = some_ids(count, 9);
      const Tensor index = Tensor::from(ids, {count});
      check_op(
          "embedding", [&](auto& in) { return embedding(in[0], to(index, in[0].device())); },
          [&](auto& in) { return reference(in[0], ids); }, {random_array({9, dim})});
    }
}

TEST_CASE("embedding takes ids of either type and any shape", "[ops]") {
  const Tensor table = Tensor::of({{0, 1}, {10, 11}, {20, 21}});
  for (const dtype type : {dtype::i32, dtype::i64}) {
    const Tensor y = embedding(table, Tensor::of({{2, 0, 2}, {1, 1, 0}}, type));
    CHECK(y.shape() == Shape{2, 3, 2});
    CHECK(y.to_vector() == std::vector<float>{20, 21, 0, 1, 20, 21, 10, 11, 10, 11, 0, 1});
    CHECK(embedding(table, Tensor::of(1, type)).to_vector() == std::vector<float>{10, 11});
  }
}

TEST_CASE("embedding sums the gradients of repeated ids in f32", "[ops]") {
  constexpr std::int64_t count = 1000;
  // in bf16, adding 1 to 256 would change nothing
  Tensor table = zeros({3, 5}, dtype::bf16).requires_grad();
  backward(embedding(table, ones({count}, dtype::i32)), ones({count, 5}, dtype::bf16));
  const Array grad = to_array(table.grad());
  for (std::int64_t i = 0; i < 15; ++i) CHECK(grad[i] == (i / 5 == 1 ? 1000 : 0));
}

TEST_CASE("embedding's gradient is the same for any number of threads", "[ops]") {
  const Tensor ids = Tensor::from(some_ids(3000, 50), {3000});
  const Tensor dy = to_tensor(random_array({3000, 200}));
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    Tensor table = zeros({50, 200}).requires_grad();
    backward(embedding(table, ids), dy);
    results.push_back(table.grad().to_vector());
  }
  set_num_threads(before);
  CHECK(results[1] == results[0]);
  CHECK(results[2] == results[0]);
}

TEST_CASE("embedding's gradient of a table beyond the caches is streamed", "[ops]") {
  constexpr std::int64_t entries = 20000, dim = 1003;  // rows whose alignment differs
  Tensor table = zeros({entries, dim}).requires_grad();
  const Array dy = random_array({3, dim});
  backward(embedding(table, Tensor::of({7, 19999, 7}, dtype::i32)), to_tensor(dy));
  const float* grad = table.grad().data<float>();
  double wrong = 0;
  for (std::int64_t i = 0; i < entries * dim; ++i) {
    const std::int64_t e = i / dim, d = i % dim;
    const double expected = e == 7 ? dy[d] + dy[2 * dim + d] : e == 19999 ? dy[dim + d] : 0;
    wrong = std::max(wrong, std::abs(static_cast<double>(grad[i]) - expected));
  }
  CHECK(wrong < 1e-6);
}

TEST_CASE("embedding names the first bad id", "[ops]") {
  const Tensor table = ones({4, 2});
  CHECK(throws_with(
      [&] {
        embedding(table, Tensor::of({{0, 3, 1}, {2, 4, -1}}, dtype::i32));
      },
      "[embedding] expected ids within [0, 4), got 4 at [1, 1]"));
  CHECK(throws_with([&] { embedding(table, Tensor::of(-1, dtype::i64)); },
                    "[embedding] expected ids within [0, 4), got -1 at []"));
  std::vector<std::int64_t> many(5000, 3);
  many[4321] = std::int64_t{1} << 40;
  CHECK(throws_with([&] { embedding(table, Tensor::from(many, {5000})); }, "got 1099511627776 at [4321]"));
  CHECK(throws_with(
      [&] {
        embedding(ones({0, 2}), zeros({1}, dtype::i32));
      },
      "expected ids within [0, 0), got 0 at [0]"));
  CHECK(throws_with([&] { embedding(table, ones({2})); }, "[embedding] expected i32 or i64, got f32"));
  CHECK(throws_with([&] { embedding(ones({4}), zeros({1}, dtype::i32)); },
                    "[embedding] expected a table [V, D], got shape [4]"));
  CHECK(throws_with(
      [&] {
        embedding(ones({4, 2}, dtype::f16), zeros({1}, dtype::i32));
      },
      "[embedding] expected f32 or bf16, got f16"));
}

TEST_CASE("on a GPU the next wait names a bad id, and the rows read are the table's", "[ops]") {
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    const Tensor table = Tensor::of({{0, 1}, {10, 11}, {20, 21}}, dtype::f32, device).requires_grad();
    const Tensor y = embedding(table, Tensor::of({{2, 1}, {3, -1}}, dtype::i32, device));
    backward(y, ones({2, 2, 2}, dtype::f32, device));
    CHECK(throws_with([&] { device.synchronize(); }, "[embedding] expected ids within [0, 3), got 3 at [1, 0]"));
    CHECK(y.to_vector() == std::vector<float>{20, 21, 10, 11, 0, 1, 0, 1});
    CHECK(table.grad().to_vector() == std::vector<float>{2, 2, 1, 1, 1, 1});
    embedding(table, Tensor::of({0, 5}, dtype::i64, device));
    CHECK(throws_with([&] { y.to_vector(); }, "got 5 at [1]"));
    CHECK(throws_with(
        [&] {
          embedding(zeros({0, 2}, dtype::f32, device), zeros({1}, dtype::i32, device));
        },
        "[embedding] expected ids within [0, 0), got 0 at [0]"));
    CHECK(
        throws_with([&] { embedding(table, zeros({1}, dtype::i32)); }, "[embedding] expected ids on cuda:0, got cpu"));
  }
}
