#include "clip/ops/reduce.hpp"

#include <cmath>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// Sums over the dimensions for which `gone` is set; the result has `shape`.
Array reference_sum(const Array& x, const std::vector<bool>& gone, const Shape& shape, double factor = 1) {
  Array y(shape);
  for (std::int64_t i = 0; i < x.shape.numel(); ++i) {
    std::int64_t rest = i, at = 0, stride = 1;
    for (int d = x.shape.rank() - 1; d >= 0; --d) {
      if (!gone[static_cast<std::size_t>(d)]) {
        at += rest % x.shape[d] * stride;
        stride *= x.shape[d];
      }
      rest /= x.shape[d];
    }
    y[at] += factor * x[i];
  }
  return y;
}

}  // namespace

TEST_CASE("sum and mean agree with a double loop over every pattern of dimensions", "[ops]") {
  for (const std::int64_t a : {1, 3})
    for (const std::int64_t b : {0, 1, 17, 65})
      for (const std::int64_t c : {1, 5, 63}) {
        const Array x = random_array({a, b, c});
        const CheckOptions wide{.tolerance = {.f32 = 4e-6, .bf16 = 1e-2}};
        check_op(
            "sum all", [](auto& in) { return sum(in[0]); },
            [](auto& in) {
              return reference_sum(in[0], {true, true, true}, {});
            },
            {x}, wide);
        check_op(
            "sum 0", [](auto& in) { return sum(in[0], {0}); },
            [&](auto& in) {
              return reference_sum(in[0], {true, false, false}, {b, c});
            },
            {x}, wide);
        check_op(
            "sum 1, kept", [](auto& in) { return sum(in[0], {1}, true); },
            [&](auto& in) {
              return reference_sum(in[0], {false, true, false}, {a, 1, c});
            },
            {x}, wide);
        check_op(
            "sum 2", [](auto& in) { return sum(in[0], {-1}); },
            [&](auto& in) {
              return reference_sum(in[0], {false, false, true}, {a, b});
            },
            {x}, wide);
        check_op(
            "sum 0 and 2",
            [](auto& in) {
              return sum(in[0], {2, 0});
            },
            [&](auto& in) {
              return reference_sum(in[0], {true, false, true}, {b});
            },
            {x}, wide);
        check_op(
            "sum of none", [](auto& in) { return sum(in[0], {}); },
            [&](auto& in) {
              return reference_sum(in[0], {false, false, false}, {a, b, c});
            },
            {x}, wide);
        if (b == 0) continue;
        check_op(
            "mean all", [](auto& in) { return mean(in[0]); },
            [&](auto& in) {
              return reference_sum(in[0], {true, true, true}, {}, 1.0 / static_cast<double>(a * b * c));
            },
            {x}, wide);
        check_op(
            "mean 1 and 2, kept",
            [](auto& in) {
              return mean(in[0], {1, 2}, true);
            },
            [&](auto& in) {
              return reference_sum(in[0], {false, true, true}, {a, 1, 1}, 1.0 / static_cast<double>(b * c));
            },
            {x}, wide);
      }
  CHECK(std::isnan(mean(zeros({0})).item()));
  CHECK(sum(zeros({0})).item() == 0);
  const Tensor x = ones({2});
  CHECK(sum(x, {}).storage() != x.storage());
}

TEST_CASE("long sums keep their accuracy and their bits for every thread count", "[ops][threads]") {
  const int before = num_threads();
  Random random(3);
  const Tensor x = rand({3000017}, random), wide = rand({999, 1001}, random);
  double expected = 0;
  for (const double v : x.to_vector()) expected += v;
  float total = 0;
  std::vector<float> columns;
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    const float s = sum(x).item();
    const std::vector<float> c = sum(wide, {0}).to_vector();
    if (threads == 1) total = s, columns = c;
    CHECK(s == total);
    CHECK(c == columns);
  }
  set_num_threads(before);
  CHECK(std::abs(total - expected) < 1e-6 * expected);
}

TEST_CASE("max agrees with a double loop and sends its gradient to the first of equals", "[ops]") {
  for (const Shape& shape : {Shape{1}, Shape{65}, Shape{3, 17}, Shape{2, 5, 3}})
    for (int dim = 0; dim < shape.rank(); ++dim)
      for (const bool keep : {false, true}) {
        std::int64_t outer = 1, inner = 1;
        for (int d = 0; d < shape.rank(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
        const std::int64_t n = shape[dim];
        check_op(
            "max", [=](auto& in) { return max(in[0], dim, keep); },
            [=](const std::vector<Array>& in) {
              Array y(keep ? in[0].shape.with(dim, 1) : in[0].shape.without(dim));
              for (std::int64_t o = 0; o < outer; ++o)
                for (std::int64_t i = 0; i < inner; ++i) {
                  double best = -HUGE_VAL;
                  for (std::int64_t k = 0; k < n; ++k) best = std::max(best, in[0][(o * n + k) * inner + i]);
                  y[o * inner + i] = best;
                }
              return y;
            },
            {random_array(shape)}, {.bf16 = false});
      }
  const Tensor x = Tensor::of({2, 5, 5, 1}).requires_grad();
  backward(max(x, 0));
  CHECK(x.grad().to_vector() == std::vector<float>{0, 1, 0, 0});
  CHECK(std::isnan(max(Tensor::of({1, std::nan(""), 3}), 0).item()));
  CHECK(max(full({2}, -HUGE_VAL), 0).item() == -HUGE_VALF);
}

TEST_CASE("reductions refuse bad dimensions and dtypes", "[ops]") {
  CHECK(throws_with([] { sum(zeros({2, 3}), {2}); }, "[sum] expected a dimension of [2, 3] (rank 2), got 2"));
  CHECK(throws_with([] { mean(zeros({2, 3}), {0, -2}); }, "[mean] expected each dimension once, got -2 twice"));
  CHECK(throws_with([] { sum(zeros({2}, dtype::i32)); }, "[sum] expected f32 or bf16, got i32"));
  CHECK(throws_with([] { max(zeros({2, 0}), 1); }, "[max] expected a dimension that is not empty, got shape [2, 0]"));
  CHECK(throws_with(
      [] {
        sum_to(zeros({2, 3}), {2});
      },
      "[sum_to] expected a shape that broadcasts to [2, 3], got [2]"));
}
