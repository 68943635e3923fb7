#include "clip/ops/arithmetic.hpp"

#include <cmath>

#include "clip/autograd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// The element of `a` that broadcasting puts at position `index` (in row-major order) of `shape`.
double broadcast_at(const Array& a, const Shape& shape, std::int64_t index) {
  std::int64_t at = 0, stride = 1;
  for (int d = 1; d <= shape.rank(); ++d) {
    const std::int64_t i = index % shape[-d];
    index /= shape[-d];
    if (d > a.shape.rank()) continue;
    if (a.shape[-d] != 1) at += i * stride;
    stride *= a.shape[-d];
  }
  return a[at];
}

Reference elementwise(const Shape& shape, double (*f)(double, double)) {
  return [=](const std::vector<Array>& in) {
    Array y(shape);
    for (std::int64_t i = 0; i < shape.numel(); ++i)
      y[i] = f(broadcast_at(in[0], shape, i), broadcast_at(in[1], shape, i));
    return y;
  };
}

void check_all(const Shape& a, const Shape& b, const Shape& y) {
  const std::vector<Array> inputs{random_array(a, -2, 2, 1), random_array(b, 0.5, 2, 2)};
  const CheckOptions rounded{.tolerance = {.bf16_gradient = 5e-2}};
  check_op(
      "add", [](auto& in) { return in[0] + in[1]; }, elementwise(y, [](double u, double v) { return u + v; }), inputs,
      rounded);
  check_op(
      "sub", [](auto& in) { return in[0] - in[1]; }, elementwise(y, [](double u, double v) { return u - v; }), inputs,
      rounded);
  check_op(
      "mul", [](auto& in) { return in[0] * in[1]; }, elementwise(y, [](double u, double v) { return u * v; }), inputs,
      rounded);
  check_op(
      "div", [](auto& in) { return in[0] / in[1]; }, elementwise(y, [](double u, double v) { return u / v; }), inputs,
      rounded);
}

Reference unary(double (*f)(double)) {
  return [=](const std::vector<Array>& in) {
    Array y(in[0].shape);
    for (std::int64_t i = 0; i < y.shape.numel(); ++i) y[i] = f(in[0][i]);
    return y;
  };
}

}  // namespace

TEST_CASE("arithmetic on equal shapes agrees with a double loop", "[ops]") {
  for (const std::int64_t n : awkward) check_all({n}, {n}, {n});
  check_all({}, {}, {});
}

TEST_CASE("arithmetic broadcasts as NumPy does", "[ops]") {
  check_all({7, 65}, {65}, {7, 65});    // a row
  check_all({7, 65}, {7, 1}, {7, 65});  // a column
  check_all({7, 1}, {1, 65}, {7, 65});  // both
  check_all({65}, {}, {65});            // a scalar
  check_all({1}, {3, 2}, {3, 2});
  check_all({2, 1, 3, 1, 5}, {4, 1, 17, 1}, {2, 4, 3, 17, 5});  // interleaved
  check_all({3, 4, 5}, {1, 4, 1}, {3, 4, 5});                   // the middle
  check_all({0, 4}, {4}, {0, 4});
  check_all({3, 1}, {3, 0}, {3, 0});
  check_all({2, 1, 2, 1, 2, 1, 2, 1}, {1, 2, 1, 2, 1, 2, 1, 2}, {2, 2, 2, 2, 2, 2, 2, 2});
}

TEST_CASE("large broadcasts split among threads anywhere agree with small ones", "[ops][threads]") {
  const Shape a{3, 1, 41, 257}, b{5, 1, 257}, y{3, 5, 41, 257};
  const std::vector<Array> inputs{random_array(a, -2, 2, 1), random_array(b, -2, 2, 2)};
  const int before = num_threads();
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    check_op("mul", [](auto& in) { return in[0] * in[1]; }, elementwise(y, [](double u, double v) { return u * v; }),
             inputs, {.differentiable = {false, false}});
  }
  set_num_threads(before);
}

TEST_CASE("scale, exp, log and expand agree with a double loop", "[ops]") {
  for (const std::int64_t n : awkward) {
    check_op("scale", [](auto& in) { return scale(in[0], -2.5f, 1); }, unary([](double v) { return -2.5 * v + 1; }),
             {random_array({n}, -2, 2)});
    check_op("exp", [](auto& in) { return exp(in[0]); }, unary([](double v) { return std::exp(v); }),
             {random_array({n}, -2, 2)});
    check_op("log", [](auto& in) { return log(in[0]); }, unary([](double v) { return std::log(v); }),
             {random_array({n}, 0.5, 4)});
    const Shape wide{3, n};
    check_op(
        "expand", [&](auto& in) { return expand(in[0], wide); },
        [&](const std::vector<Array>& in) {
          Array y(wide);
          for (std::int64_t i = 0; i < wide.numel(); ++i) y[i] = broadcast_at(in[0], wide, i);
          return y;
        },
        {random_array({3, 1})});
  }
}

TEST_CASE("arithmetic refuses operands that do not fit", "[ops]") {
  CHECK(throws_with([] { zeros({2, 3}) + zeros({2}); }, "[add] expected shapes that broadcast, got [2, 3] and [2]"));
  CHECK(throws_with([] { zeros({2}) * zeros({2}, dtype::bf16); },
                    "[mul] expected operands of one dtype, got f32 and bf16"));
  CHECK(throws_with([] { zeros({2}, dtype::i32) / zeros({2}, dtype::i32); }, "[div] expected f32 or bf16, got i32"));
  CHECK(throws_with([] { zeros({0}, dtype::i32) + zeros({0}, dtype::i32); }, "[add] expected f32 or bf16, got i32"));
  CHECK(throws_with([] { zeros({2}) - Tensor(); }, "[sub] expected a defined tensor, got an undefined one"));
  CHECK(throws_with([] { expand(zeros({2}), {3}); }, "[expand] expected shapes that broadcast, got [2] and [3]"));
  CHECK(throws_with(
      [] {
        expand(zeros({3, 3}), {1, 3});
      },
      "[expand] expected a shape that [3, 3] broadcasts to, got [1, 3]"));
}
