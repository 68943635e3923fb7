#include "clip/ops/batch_norm.hpp"

#include <cmath>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

struct Statistics {
  double mean, variance;
};

Statistics column_statistics(const Array& x, std::int64_t c) {
  const auto [rows, cols] = as_rows(x.shape);
  Statistics s{0, 0};
  for (std::int64_t r = 0; r < rows; ++r) s.mean += x[r * cols + c] / static_cast<double>(rows);
  for (std::int64_t r = 0; r < rows; ++r)
    s.variance += std::pow(x[r * cols + c] - s.mean, 2) / static_cast<double>(rows);
  return s;
}

constexpr double eps = 1e-2, running_mean = 0.25, running_var = 0.75;

Array reference_batch_norm(const Array& x, const Array& weight, const Array& bias, bool training) {
  Array y(x.shape);
  const auto [rows, cols] = as_rows(x.shape);
  for (std::int64_t c = 0; c < cols; ++c) {
    const auto [mean, variance] = training ? column_statistics(x, c) : Statistics{running_mean, running_var};
    for (std::int64_t r = 0; r < rows; ++r)
      y[r * cols + c] = (x[r * cols + c] - mean) / std::sqrt(variance + eps) * weight[c] + bias[c];
  }
  return y;
}

}  // namespace

TEST_CASE("batch_norm agrees with a double loop and its differences", "[ops]") {
  for (const bool training : {false, true})
    for (const std::int64_t cols : {0, 1, 15, 17, 64})
      for (const std::int64_t rows : {0, 1, 2, 9, 65, 150}) {
        if (training && rows < 2) continue;
        const std::vector<Array> inputs{random_array({rows, cols}, -2, 3), random_array({cols}, 0.5, 1.5, 1),
                                        random_array({cols}, -1, 1, 2)};
        check_op(
            training ? "training" : "inference",
            [=](auto& in) {
              Tensor mean = full({cols}, running_mean, dtype::f32, in[0].device());
              Tensor variance = full({cols}, running_var, dtype::f32, in[0].device());
              return batch_norm(in[0], in[1], in[2], mean, variance, {.training = training, .eps = 1e-2f});
            },
            [=](auto& in) { return reference_batch_norm(in[0], in[1], in[2], training); }, inputs,
            {.tolerance = {.f32 = 4e-6, .bf16 = 1e-2, .gradient = 4e-4, .bf16_gradient = 4e-2}});
      }
}

TEST_CASE("batch_norm moves the running statistics in training only", "[ops]") {
  const Array x = random_array({2, 5, 7, 19}, 3, 9);
  Tensor mean = full({19}, 1), variance = full({19}, 2);
  batch_norm(to_tensor(x), ones({19}), zeros({19}), mean, variance);
  CHECK(mean.to_vector() == std::vector<float>(19, 1));
  batch_norm(to_tensor(x), ones({19}), zeros({19}), mean, variance, {.training = true, .momentum = 0.3f});
  for (std::int64_t c = 0; c < 19; ++c) {
    const Statistics batch = column_statistics(x, c);
    CHECK(to_array(mean)[c] == Approx(0.7 * 1 + 0.3 * batch.mean));
    CHECK(to_array(variance)[c] == Approx(0.7 * 2 + 0.3 * batch.variance * 70 / 69));
  }
}

TEST_CASE("batch_norm keeps its variance where the mean is large", "[ops]") {
  Array x({5000, 3});
  for (std::int64_t i = 0; i < 15000; ++i) x[i] = 10000 + (i % 2 == 0 ? 0.5 : -0.5);
  Tensor mean = zeros({3}), variance = zeros({3});
  const Array y =
      to_array(batch_norm(to_tensor(x), ones({3}), zeros({3}), mean, variance, {.training = true, .eps = 0}));
  CHECK(y[0] == Approx(1).epsilon(2e-3));  // f32 resolves the mean to 1e-3
  CHECK(y[14999] == Approx(-1).epsilon(2e-3));
}

TEST_CASE("batch_norm gives the same bits for any number of threads", "[ops][threads]") {
  Random random(3);
  const Tensor x = randn({9001, 33}, random).requires_grad(), dy = randn({9001, 33}, random);
  const Tensor weight = randn({33}, random).requires_grad(), bias = randn({33}, random).requires_grad();
  const auto all = [&] {
    Tensor mean = zeros({33}), variance = ones({33});
    const Tensor y = batch_norm(x, weight, bias, mean, variance, {.training = true});
    for (const Tensor* leaf : {&x, &weight, &bias}) leaf->set_grad({});
    backward(y, dy);
    return std::vector{y.to_vector(),           x.grad().to_vector(), weight.grad().to_vector(),
                       bias.grad().to_vector(), variance.to_vector(), mean.to_vector()};
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

TEST_CASE("batch_norm notices a running mean that changed before backward", "[ops]") {
  const Tensor x = ones({4, 2}).requires_grad();
  Tensor mean = zeros({2}), variance = ones({2});
  const Tensor y = batch_norm(x, ones({2}), zeros({2}), mean, variance);
  mean.fill(3);
  CHECK(throws_with([&] { backward(y, ones({4, 2})); }, "[batch_norm] expected input 3 unchanged"));
}

TEST_CASE("batch_norm refuses wrong shapes and dtypes, and one value a channel in training", "[ops]") {
  const Tensor x = ones({2, 3}), p = ones({3});
  Tensor mean = zeros({3}), variance = ones({3}), low = zeros({3}, dtype::bf16), longer = zeros({4});
  CHECK(throws_with([&] { batch_norm(Tensor::of(1), p, p, mean, variance); }, "[batch_norm] expected rank >= 1"));
  CHECK(throws_with([&] { batch_norm(x, ones({2}), p, mean, variance); }, "expected weight [3] for x [2, 3], got [2]"));
  CHECK(throws_with([&] { batch_norm(x, p, ones({3}, dtype::bf16), mean, variance); },
                    "expected bias in f32 or x's f32"));
  CHECK(throws_with([&] { batch_norm(x, p, p, longer, variance); }, "expected running_mean [3] for x [2, 3], got [4]"));
  CHECK(throws_with([&] { batch_norm(x, p, p, mean, low); }, "expected running_var in f32, got bf16"));
  CHECK(throws_with(
      [&] {
        batch_norm(ones({2, 3}, dtype::i32), p, p, mean, variance);
      },
      "expected f32 or bf16, got i32"));
  CHECK(throws_with(
      [&] {
        batch_norm(ones({1, 3}), p, p, mean, variance, {.training = true});
      },
      "[batch_norm] expected more than one value per channel when training, got shape [1, 3]"));
  CHECK(mean.to_vector() == std::vector<float>(3, 0));
}
