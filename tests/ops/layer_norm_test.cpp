#include "clip/ops/layer_norm.hpp"

#include <cmath>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference_layer_norm(const Array& x, const Array& weight, const Array& bias, double eps) {
  Array y(x.shape);
  const auto [rows, cols] = as_rows(x.shape);
  for (std::int64_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (std::int64_t c = 0; c < cols; ++c) mean += x[r * cols + c] / static_cast<double>(cols);
    for (std::int64_t c = 0; c < cols; ++c) variance += std::pow(x[r * cols + c] - mean, 2) / static_cast<double>(cols);
    for (std::int64_t c = 0; c < cols; ++c)
      y[r * cols + c] = (x[r * cols + c] - mean) / std::sqrt(variance + eps) * weight[c] + bias[c];
  }
  return y;
}

}  // namespace

TEST_CASE("layer_norm agrees with a double loop and its differences", "[ops]") {
  for (const std::int64_t cols : awkward)
    for (const std::int64_t rows : {0, 1, 7, 83}) {
      if (rows == 83 && cols > 65) continue;
      const std::vector<Array> inputs{random_array({rows, cols}, -2, 3), random_array({cols}, 0.5, 1.5, 1),
                                      random_array({cols}, -1, 1, 2)};
      check_op(
          "layer_norm", [](auto& in) { return layer_norm(in[0], in[1], in[2], 1e-2f); },
          [](auto& in) { return reference_layer_norm(in[0], in[1], in[2], 1e-2); }, inputs,
          {.tolerance = {.f32 = 4e-6, .bf16 = 1e-2, .gradient = 4e-4, .bf16_gradient = 4e-2}});
    }
}

TEST_CASE("layer_norm takes f32 parameters beside bf16 data", "[ops]") {
  const Array x = random_array({5, 33}, -1, 1), ones_array = random_array({33}, 1, 1);
  const Tensor weight = to_tensor(ones_array).requires_grad(),
               bias = to_tensor(ones_array, dtype::bf16).requires_grad();
  const Tensor y = layer_norm(to_tensor(x, dtype::bf16), weight, bias);
  CHECK(y.dtype() == dtype::bf16);
  backward(y, full({5, 33}, 1, dtype::bf16));
  CHECK(weight.grad().dtype() == dtype::f32);
  CHECK(bias.grad().dtype() == dtype::bf16);
  CHECK(to_array(bias.grad())[32] == 5);
}

TEST_CASE("layer_norm keeps its variance where the mean is large", "[ops]") {
  Array x({1, 4096});
  for (std::int64_t i = 0; i < 4096; ++i) x[i] = 10000 + (i % 2 == 0 ? 0.5 : -0.5);
  const Array y = to_array(layer_norm(to_tensor(x), ones({4096}), zeros({4096}), 0));
  CHECK(y[0] == Approx(1).epsilon(1e-4));
  CHECK(y[4095] == Approx(-1).epsilon(1e-4));
}

TEST_CASE("layer_norm gives the same bits for any number of threads", "[ops][threads]") {
  Random random(3);
  const Tensor x = randn({2100, 65}, random).requires_grad(), dy = randn({2100, 65}, random);
  const Tensor weight = randn({65}, random).requires_grad(), bias = randn({65}, random).requires_grad();
  const auto all = [&] {
    const Tensor y = layer_norm(x, weight, bias);
    for (const Tensor* leaf : {&x, &weight, &bias}) leaf->set_grad({});
    backward(y, dy);
    return std::vector{y.to_vector(), x.grad().to_vector(), weight.grad().to_vector(), bias.grad().to_vector()};
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

TEST_CASE("layer_norm refuses wrong shapes and dtypes", "[ops]") {
  const Tensor x = ones({2, 3}), p = ones({3});
  CHECK(throws_with([&] { layer_norm(Tensor::of(1), p, p); }, "[layer_norm] expected rank >= 1, got shape []"));
  CHECK(throws_with([&] { layer_norm(x, ones({2}), p); }, "[layer_norm] expected weight [3] for x [2, 3], got [2]"));
  CHECK(throws_with(
      [&] {
        layer_norm(x, p, ones({3, 1}));
      },
      "[layer_norm] expected bias [3] for x [2, 3], got [3, 1]"));
  CHECK(throws_with([&] { layer_norm(x, p, ones({3}, dtype::bf16)); }, "expected bias in f32 or x's f32, got bf16"));
  CHECK(throws_with([&] { layer_norm(ones({2, 3}, dtype::i32), p, p); }, "[layer_norm] expected f32 or bf16, got i32"));
}
