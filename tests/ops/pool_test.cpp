#include "clip/ops/pool.hpp"

#include <cmath>
#include <limits>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

double at(const Array& x, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  const bool inside = h >= 0 && h < x.shape[1] && w >= 0 && w < x.shape[2];
  return inside ? x[((n * x.shape[1] + h) * x.shape[2] + w) * x.shape[3] + c] : -HUGE_VAL;
}

Array reference_max_pool2d(const Array& x, const MaxPool2dOptions& o) {
  Array y({x.shape[0], (x.shape[1] + 2 * o.padding - o.kernel) / o.stride + 1,
           (x.shape[2] + 2 * o.padding - o.kernel) / o.stride + 1, x.shape[3]});
  std::int64_t i = 0;
  for (std::int64_t n = 0; n < y.shape[0]; ++n)
    for (std::int64_t h = 0; h < y.shape[1]; ++h)
      for (std::int64_t w = 0; w < y.shape[2]; ++w)
        for (std::int64_t c = 0; c < y.shape[3]; ++c) {
          double best = -HUGE_VAL;
          for (std::int64_t k = 0; k < o.kernel * o.kernel; ++k)
            best = std::max(
                best, at(x, n, h * o.stride - o.padding + k / o.kernel, w * o.stride - o.padding + k % o.kernel, c));
          y[i++] = best;
        }
  return y;
}

/// Distinct multiples of 1/64, which bf16 cannot merge: differences must not cross a tie.
Array distinct_array(const Shape& shape) {
  Array a(shape);
  const std::int64_t n = shape.numel();
  for (std::int64_t i = 0; i < n; ++i) a[i] = static_cast<double>((i * 101) % 251) / 64 - 2;
  return a;
}

}  // namespace

TEST_CASE("max_pool2d agrees with a double loop and its differences", "[ops]") {
  const Shape shapes[] = {{1, 7, 5, 1}, {2, 5, 6, 17}, {1, 4, 4, 64}, {1, 1, 1, 3}, {0, 4, 4, 3}, {2, 6, 7, 0}};
  for (const Shape& shape : shapes)
    for (const MaxPool2dOptions& options :
         {MaxPool2dOptions{2, 2, 0}, MaxPool2dOptions{3, 2, 1}, MaxPool2dOptions{3, 1, 1}, MaxPool2dOptions{1, 3, 0},
          MaxPool2dOptions{2, 3, 1}, MaxPool2dOptions{5, 4, 2}}) {
      if (shape[1] + 2 * options.padding < options.kernel) continue;
      INFO("kernel " << options.kernel << ", stride " << options.stride << ", padding " << options.padding);
      check_op(
          "max_pool2d", [=](auto& in) { return max_pool2d(in[0], options); },
          [=](auto& in) { return reference_max_pool2d(in[0], options); }, {distinct_array(shape)});
    }
}

TEST_CASE("max_pool2d refuses images without positions, however much padding there is", "[ops]") {
  CHECK(throws_with(
      [] {
        max_pool2d(zeros({1, 0, 4, 64}), {.kernel = 2, .stride = 2, .padding = 1});
      },
      "[max_pool2d] expected 1 to 2^31 - 1 positions, got shape [1, 0, 4, 64]"));
  CHECK(throws_with(
      [] {
        max_pool2d(zeros({1, 4, 4, 1}), {.kernel = std::int64_t{1} << 62});
      },
      "expected a kernel <= 2^30"));
}

TEST_CASE("max_pool2d gives the gradient to the first of equals, and to a NaN", "[ops]") {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const auto gradient = [](std::vector<float> values) {
    const Tensor x = Tensor::from(values, {1, 2, 2, 1}).requires_grad();
    backward(max_pool2d(x, {.kernel = 2}), ones({1, 1, 1, 1}));
    return x.grad().to_vector();
  };
  CHECK(gradient({1, 2, 2, 2}) == std::vector<float>{0, 1, 0, 0});
  CHECK(gradient({-inf, -inf, -inf, -inf}) == std::vector<float>{1, 0, 0, 0});
  CHECK(gradient({1, nan, 9, nan}) == std::vector<float>{0, 1, 0, 0});
  CHECK(std::isnan(max_pool2d(Tensor::from(std::vector<float>{1, nan, 9, 3}, {1, 2, 2, 1}), {}).item()));
}

TEST_CASE("max_pool2d gives the same bits for any number of threads", "[ops][threads]") {
  Random random(3);
  const Tensor x = randn({3, 41, 43, 33}, random).requires_grad(), dy = randn({3, 21, 22, 33}, random);
  const auto all = [&] {
    const Tensor y = max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1});
    x.set_grad({});
    backward(y, dy);
    return std::vector{y.to_vector(), x.grad().to_vector()};
  };
  const int before = num_threads();
  set_num_threads(1);
  const auto one = all();
  for (const int threads : {2, 5}) {
    set_num_threads(threads);
    CHECK(all() == one);
  }
  set_num_threads(before);
}

TEST_CASE("global_avg_pool agrees with a double loop and its differences", "[ops]") {
  for (const Shape& shape : {Shape{2, 7, 5, 17}, Shape{1, 1, 1, 33}, Shape{3, 2, 1, 1}, Shape{0, 2, 2, 3}})
    check_op(
        "global_avg_pool", [](auto& in) { return global_avg_pool(in[0]); },
        [](auto& in) {
          const Shape& s = in[0].shape;
          Array y({s[0], s[3]});
          for (std::int64_t i = 0; i < s.numel(); ++i)
            y[i / (s[1] * s[2] * s[3]) * s[3] + i % s[3]] += in[0][i] / static_cast<double>(s[1] * s[2]);
          return y;
        },
        {random_array(shape, -2, 3)});
}

TEST_CASE("pooling refuses what it cannot do", "[ops]") {
  const Tensor x = ones({1, 3, 5, 2});
  CHECK(throws_with(
      [&] {
        max_pool2d(ones({3, 5, 2}), {});
      },
      "[max_pool2d] expected x [N, H, W, C], got shape [3, 5, 2]"));
  CHECK(throws_with([&] { max_pool2d(x, {.kernel = 0}); }, "expected kernel and stride >= 1, got 0 and 2"));
  CHECK(throws_with([&] { max_pool2d(x, {.kernel = 3, .padding = 2}); }, "expected padding in [0, kernel / 2], got 2"));
  CHECK(throws_with([&] { max_pool2d(x, {.kernel = 4}); }, "expected an image of at least 4 x 4 with its padding"));
  CHECK(throws_with(
      [&] {
        max_pool2d(ones({1, 3, 5, 2}, dtype::u8), {});
      },
      "[max_pool2d] expected f32 or bf16, got u8"));
  CHECK(throws_with([&] { global_avg_pool(ones({3, 5, 2})); }, "[global_avg_pool] expected x [N, H, W, C]"));
}
