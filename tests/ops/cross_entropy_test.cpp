#include "clip/ops/cross_entropy.hpp"

#include <cmath>
#include <limits>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/sanitized.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference(const Array& x, const Array& t) {
  Array y(Shape{});
  const auto [rows, cols] = as_rows(x.shape);
  for (std::int64_t r = 0; r < rows; ++r) {
    double top = -HUGE_VAL, sum = 0;
    for (std::int64_t c = 0; c < cols; ++c) top = std::max(top, x[r * cols + c]);
    for (std::int64_t c = 0; c < cols; ++c) sum += std::exp(x[r * cols + c] - top);
    for (std::int64_t c = 0; c < cols; ++c)
      y[0] -= t[r * cols + c] * (x[r * cols + c] - top - std::log(sum)) / static_cast<double>(rows);
  }
  return y;
}

std::vector<std::int64_t> some_classes(std::int64_t rows, std::int64_t cols) {
  const Array numbers = random_array({rows}, 0, static_cast<double>(cols) - 0.01, 8);
  return {numbers.values.begin(), numbers.values.end()};
}

Array one_hot(const std::vector<std::int64_t>& classes, std::int64_t cols) {
  Array t({static_cast<std::int64_t>(classes.size()), cols});
  for (std::size_t r = 0; r < classes.size(); ++r) t[static_cast<std::int64_t>(r) * cols + classes[r]] = 1;
  return t;
}

}  // namespace

TEST_CASE("cross_entropy agrees with a double loop and its differences", "[ops]") {
  for (const std::int64_t cols : awkward)
    for (const std::int64_t rows : {1, 3, 100}) {
      if (cols == 0 || (sanitized && rows * cols > 10'000)) continue;
      const Array logits = random_array({rows, cols}, -4, 4);
      const std::vector<std::int64_t> classes = some_classes(rows, cols);
      const Tensor index = Tensor::from(classes, {rows});
      check_op(
          "cross_entropy with classes", [&](auto& in) { return cross_entropy(in[0], to(index, in[0].device())); },
          [&](auto& in) { return reference(in[0], one_hot(classes, cols)); }, {logits}, {.samples = 8});
      check_op(
          "cross_entropy with soft targets", [](auto& in) { return cross_entropy(in[0], in[1]); },
          [](auto& in) { return reference(in[0], in[1]); }, {logits, random_array({rows, cols}, -0.1, 1, 4)},
          {.tolerance = {.f32 = 1e-5, .bf16 = 8e-3, .gradient = 2e-4, .bf16_gradient = 3e-2}, .samples = 4});
    }
}

TEST_CASE("cross_entropy takes one row without its dimension, and classes of either type", "[ops]") {
  const Tensor x = Tensor::of({1, 2, 4});
  const double expected = std::log(std::exp(1) + std::exp(2) + std::exp(4)) - 2;
  CHECK(cross_entropy(x, Tensor::of(1, dtype::i32)).item() == Approx(expected));
  CHECK(cross_entropy(x, Tensor::of(1, dtype::i64)).item() == Approx(expected));
  CHECK(cross_entropy(x, Tensor::of({0, 1, 0})).item() == Approx(expected));
  CHECK(cross_entropy(x.view(0, {1, 3}), Tensor::of({1}, dtype::i32)).item() == Approx(expected));
}

TEST_CASE("cross_entropy holds for logits far apart and for masked ones", "[ops]") {
  const float inf = std::numeric_limits<float>::infinity();
  Tensor x = Tensor::from(std::vector<float>{256, -256, -inf, 255}, {1, 4}).requires_grad();
  const double log_sum = 256 + std::log1p(std::exp(-1.0));
  CHECK(cross_entropy(x, Tensor::of({1}, dtype::i32)).item() == Approx(log_sum + 256));
  const Tensor y = cross_entropy(x, Tensor::of({{0.5, 0.25, 0, 0.25}}));
  CHECK(y.item() == Approx(log_sum - 0.5 * 256 + 0.25 * 256 - 0.25 * 255));
  backward(y);
  const std::vector<float> dx = x.grad().to_vector();
  const double p = 1 / (1 + std::exp(-1.0));
  CHECK(dx[0] == Approx(p - 0.5).margin(1e-5));  // the log-sum-exp near 256 is good to 2e-5
  CHECK(dx[1] == Approx(-0.25));
  CHECK(dx[2] == 0);
  CHECK(dx[3] == Approx(1 - p - 0.25).margin(1e-5));
  CHECK(cross_entropy(x, Tensor::of({2}, dtype::i32)).item() == inf);
}

TEST_CASE("cross_entropy averages many rows, the same for any number of threads", "[ops]") {
  constexpr std::int64_t rows = 3000, cols = 70;
  const Array logits = random_array({rows, cols}, -4, 4), soft = random_array({rows, cols}, 0, 1, 2);
  const Tensor classes = Tensor::from(some_classes(rows, cols), {rows});
  const int before = num_threads();
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5})
    for (const Tensor& targets : {classes, to_tensor(soft)}) {
      set_num_threads(threads);
      Tensor x = to_tensor(logits).requires_grad();
      const Tensor y = cross_entropy(x, targets);
      backward(y);
      results.push_back(x.grad().to_vector());
      results.back().push_back(y.item());
    }
  set_num_threads(before);
  CHECK(results[1].back() == Approx(reference(logits, soft)[0]).epsilon(1e-5));
  for (std::size_t i = 2; i < results.size(); ++i) CHECK(results[i] == results[i % 2]);
}

TEST_CASE("cross_entropy of many classes streams its gradient", "[ops]") {
  constexpr std::int64_t rows = 201, cols = 50257;
  const std::vector<std::int64_t> classes = some_classes(rows, cols);
  Tensor x = zeros({rows, cols}).requires_grad();
  backward(cross_entropy(x, Tensor::from(classes, {rows})));
  const std::vector<float> dx = x.grad().to_vector();
  double worst = 0;
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const bool hit = classes[static_cast<std::size_t>(i / cols)] == i % cols;
    worst = std::max(worst, std::abs(dx[static_cast<std::size_t>(i)] * rows - (1.0 / cols - (hit ? 1 : 0))));
  }
  CHECK(worst < 1e-6);
}

TEST_CASE("cross_entropy says what it cannot take", "[ops]") {
  const Tensor x = ones({2, 3});
  CHECK(throws_with(
      [&] {
        cross_entropy(x, Tensor::of({1, 3}, dtype::i32));
      },
      "[cross_entropy] expected classes within [0, 3), got 3 at [1]"));
  CHECK(throws_with([&] { cross_entropy(x, Tensor::of({-1, 0}, dtype::i64)); }, "got -1 at [0]"));
  CHECK(throws_with([&] { cross_entropy(x, ones({2})); }, "[cross_entropy] expected i32 or i64, got f32"));
  CHECK(throws_with([&] { cross_entropy(x, zeros({3}, dtype::i32)); },
                    "[cross_entropy] expected targets [2] or [2, 3], got [3]"));
  CHECK(throws_with(
      [&] {
        cross_entropy(x, ones({2, 3}, dtype::bf16));
      },
      "[cross_entropy] expected soft targets of the dtype of logits, f32, got bf16"));
  CHECK(throws_with(
      [&] {
        cross_entropy(ones({0, 3}), zeros({0}, dtype::i32));
      },
      "[cross_entropy] expected at least one row and one class, got logits [0, 3]"));
  CHECK(throws_with([&] { cross_entropy(ones({3, 0}), ones({3, 0})); }, "at least one row and one class"));
  CHECK(throws_with([&] { cross_entropy(ones({2, 3, 4}), ones({2, 3, 4})); }, "expected logits [N, C] or [C]"));
  CHECK(throws_with([&] { cross_entropy(ones({2, 3}, dtype::i32), zeros({2}, dtype::i32)); }, "f32 or bf16, got i32"));
}
