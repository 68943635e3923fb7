#include "clip/ops/dropout.hpp"

#include <cmath>
#include <functional>
#include <limits>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/attention.hpp"
#include "clip/ops/projection_head.hpp"
#include "clip/ops/view.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

constexpr std::uint64_t seed = 0x123456789abcdef0u, offset = (std::uint64_t{1} << 32) - 3;  // the counter carries

bool kept(std::int64_t i, double p) {
  const std::uint32_t word = philox(seed, offset + static_cast<std::uint64_t>(i / 4))[static_cast<std::size_t>(i % 4)];
  return word >= p * 0x1p32;
}

Array reference_dropout(const Array& x, float p) {
  Array y(x.shape);
  for (std::int64_t i = 0; i < x.shape.numel(); ++i) y[i] = kept(i, p) ? x[i] / (1.0 - p) : 0;
  return y;
}

}  // namespace

TEST_CASE("dropout agrees with a loop over scalar Philox words", "[ops]") {
  for (const std::int64_t n : awkward)
    for (const float p : {0.1f, 0.5f, 0.9f, 1.0f}) {
      check_op(
          "dropout",
          [=](auto& in) {
            Random random(seed, offset);
            return dropout(in[0], p, random);
          },
          [=](auto& in) { return reference_dropout(in[0], p); }, {random_array({n}, -1, 1)});
      check_op(
          "dropout_add",
          [=](auto& in) {
            Random random(seed, offset);
            return dropout_add(in[0], in[1], p, random);
          },
          [=](auto& in) {
            Array y = reference_dropout(in[0], p);
            for (std::int64_t i = 0; i < n; ++i) y[i] += in[1][i];
            return y;
          },
          {random_array({n}, -1, 1), random_array({n}, -1, 1, 1)});
    }
}

TEST_CASE("dropout keeps the fraction asked for and advances its stream", "[ops]") {
  Random random(5);
  constexpr std::int64_t n = 1 << 20;
  const std::vector<float> y = dropout(ones({n}), 0.25f, random).to_vector();
  CHECK(random.offset() == n / 4);
  std::int64_t count = 0;
  for (const float value : y) {
    count += value != 0;
    CHECK_FALSE((value != 0 && value != 1 / 0.75f));
  }
  CHECK(std::abs(static_cast<double>(count) / n - 0.75) < 0.002);  // five standard deviations
  CHECK(dropout(ones({n}), 0.25f, random).to_vector() != y);
}

TEST_CASE("dropout's ends: p = 0 is the identity, p = 1 gives zeros even for infinities", "[ops]") {
  Random random(5);
  const Tensor x = full({40}, std::numeric_limits<float>::infinity());
  CHECK(dropout(x, 0, random).raw() == x.raw());
  CHECK(dropout_add(ones({3}), ones({3}), 0, random).to_vector() == std::vector<float>{2, 2, 2});
  CHECK(random.offset() == 0);
  CHECK(dropout(x, 1, random).to_vector() == std::vector<float>(40, 0.0f));
  CHECK(random.offset() == 10);
}

TEST_CASE("dropout computes its mask again in backward", "[ops]") {
  Random random(9);
  const Tensor x = ones({1000}).requires_grad(), residual = ones({1000}).requires_grad();
  const Tensor y = dropout_add(x, residual, 0.3f, random);
  dropout(x, 0.3f, random);  // moving the stream on changes nothing
  backward(y, ones({1000}));
  CHECK(add(x.grad(), residual.grad()).to_vector() == y.to_vector());
  CHECK(residual.grad().to_vector() == std::vector<float>(1000, 1.0f));
}

TEST_CASE("a GPU looks up where in a stream to draw, in both directions", "[ops]") {
  constexpr std::int64_t n = 24;  // heads of 8: also attention's and the projection head's
  for (const Device& device : devices()) {
    if (device.is_cpu()) continue;
    const Tensor x = to_tensor(random_array({n, n}, -1, 1), dtype::f32, device);
    const auto all = [&](Random& random, const std::function<void()>& before_backward) {
      Tensor leaf = x.clone().requires_grad();
      const Tensor matrix = scale(x, 0.1f), ones_row = ones({n}, dtype::f32, device);
      const Tensor first = dropout_add(dropout(leaf, 0.5f, random), leaf, 0.5f, random);
      const Tensor heads = reshape(first, {1, n, 3, 8});
      const Tensor attended = attention(heads, heads, heads, {.dropout = 0.5f, .random = &random});
      const Tensor y =
          projection_head(reshape(attended, {n, n}), {matrix, ones_row, matrix, ones_row, ones_row, ones_row},
                          {.dropout = 0.5f, .random = &random});
      before_backward();
      backward(y, x);
      return std::pair(y.to_vector(), leaf.grad().to_vector());
    };
    Random plain(seed, offset), again(seed, offset);
    const auto expected = all(plain, [] {});
    Tensor base = zeros({}, dtype::i64, device);
    Random placed(seed, base);
    const auto at_start = all(placed, [] {});
    CHECK(placed.offset() == plain.offset() - offset);
    CHECK(at_start.first != expected.first);
    base.copy_from(Tensor::from(std::vector{static_cast<std::int64_t>(offset)}, {}));
    placed = Random(seed, base);
    CHECK(all(placed, [] {}) == expected);
    placed = Random(seed, base);
    const auto moved = all(placed, [&] { base.copy_from(zeros({}, dtype::i64)); });  // then backward draws others
    CHECK(moved.first == expected.first);
    CHECK(moved.second != expected.second);
    CHECK(throws_with([&] { dropout(ones({2}), 0.5f, placed); }, "[dropout] expected a random stream placed on cpu"));
    CHECK(throws_with([&] { randn({2}, placed); }, "[randn] expected a random stream placed on cpu, got one on"));
  }
}

TEST_CASE("dropout refuses what is no probability, other dtypes and mismatched residuals", "[ops]") {
  Random random(1);
  const Tensor x = ones({2, 3});
  CHECK(throws_with([&] { dropout(x, -0.5f, random); }, "[dropout] expected a probability p in [0, 1], got -0.5"));
  CHECK(throws_with([&] { dropout(x, 1.5f, random); }, "got 1.5"));
  CHECK(throws_with([&] { dropout(x, std::nanf(""), random); }, "got nan"));
  CHECK(throws_with([&] { dropout(ones({2}, dtype::i32), 0.5f, random); }, "[dropout] expected f32 or bf16, got i32"));
  CHECK(throws_with([&] { dropout_add(x, ones({6}), 0.5f, random); },
                    "[dropout_add] expected a residual f32 [2, 3] on cpu, got f32 [6] on cpu"));
  CHECK(random.offset() == 0);
}
