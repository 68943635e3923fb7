#include "clip/ops/l2_normalize.hpp"

#include <cmath>

#include "clip/autograd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference(const Array& x, double eps) {
  Array y(x.shape);
  const auto [rows, cols] = as_rows(x.shape);
  for (std::int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (std::int64_t c = 0; c < cols; ++c) squares += x[r * cols + c] * x[r * cols + c];
    for (std::int64_t c = 0; c < cols; ++c) y[r * cols + c] = x[r * cols + c] / std::max(std::sqrt(squares), eps);
  }
  return y;
}

}  // namespace

TEST_CASE("l2_normalize agrees with a double loop and its differences", "[ops]") {
  for (const std::int64_t cols : awkward)
    for (const std::int64_t rows : {0, 1, 3}) {
      const std::vector<Array> inputs{random_array({rows, cols}, 0.2, 2)};
      check_op(
          "l2_normalize", [](auto& in) { return l2_normalize(in[0]); },
          [](auto& in) { return reference(in[0], 1e-12); }, inputs);
      // norms below eps: a plain division
      check_op(
          "l2_normalize", [](auto& in) { return l2_normalize(in[0], 100); },
          [](auto& in) { return reference(in[0], 100); }, inputs);
    }
}

TEST_CASE("l2_normalize takes rows of zeros, tiny and large numbers", "[ops]") {
  Tensor x = Tensor::of({{0, 0}, {3e-10, 4e-10}, {3e15, 4e15}}).requires_grad();
  const Tensor y = l2_normalize(x);
  const std::vector<float> expected{0, 0, 0.6f, 0.8f, 0.6f, 0.8f};
  for (std::size_t i = 0; i < 6; ++i) CHECK(y.to_vector()[i] == Approx(expected[i]));
  backward(y, Tensor::of({{1, 2}, {4, -3}, {0.6, 0.8}}));
  const std::vector<float> dx = x.grad().to_vector();
  CHECK(dx[0] == Approx(1e12));  // dy / eps
  CHECK(dx[1] == Approx(2e12));
  CHECK(dx[2] == Approx(4 / 5e-10));  // dy is tangential
  CHECK(dx[3] == Approx(-3 / 5e-10));
  CHECK(std::abs(dx[4]) < 1e-21);  // dy is radial
  CHECK(std::abs(dx[5]) < 1e-21);
}

TEST_CASE("l2_normalize of a row with NaN is NaN, and so are its gradients", "[ops]") {
  for (const Device& device : devices()) {
    Tensor x = Tensor::of({{1, std::nan("")}, {3, 4}}, dtype::f32, device).requires_grad();
    const Tensor y = l2_normalize(x);
    backward(y, ones({2, 2}, dtype::f32, device));
    for (const Tensor& each : {y, x.grad()})
      for (std::size_t i = 0; i < 4; ++i) CHECK(std::isnan(each.to_vector()[i]) == (i < 2));
  }
}

TEST_CASE("l2_normalize divides rows shorter than eps by it", "[ops]") {
  Tensor x = Tensor::of({3, 4}).requires_grad();
  const Tensor y = l2_normalize(x, 10);
  backward(y, Tensor::of({1, 2}));
  CHECK(y.to_vector()[0] == Approx(0.3));
  CHECK(x.grad().to_vector()[0] == Approx(0.1));
  CHECK(x.grad().to_vector()[1] == Approx(0.2));
}

TEST_CASE("l2_normalize says what it cannot take", "[ops]") {
  CHECK(throws_with([] { l2_normalize(Tensor::of(1)); }, "[l2_normalize] expected rank >= 1, got shape []"));
  CHECK(throws_with([] { l2_normalize(ones({2}), 0); }, "[l2_normalize] expected eps > 0, got 0"));
  CHECK(throws_with([] { l2_normalize(ones({2}, dtype::i32)); }, "[l2_normalize] expected f32 or bf16, got i32"));
}
