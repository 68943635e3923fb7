#include "clip/train/running_average.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/models/hash_weights.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// Averages of tensors of several sizes after two updates, between which a value moves; checked against double loops.
std::vector<std::vector<float>> averages(const Device& device) {
  std::vector<Tensor> means, values;
  std::vector<std::vector<double>> expected;
  const auto follow = [&](double rest) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto value = values[i].to_vector();
      for (std::size_t j = 0; j < value.size(); ++j)
        expected[i][j] += rest * (static_cast<double>(value[j]) - expected[i][j]);
    }
  };
  for (const std::int64_t size : {0, 1, 70'001, 64, 33}) {
    const std::string name = std::to_string(size);
    means.push_back(Tensor::from(hash_uniform("mean" + name, size), {size}, device));
    values.push_back(Tensor::from(hash_uniform("value" + name, size), {size}, device));
    const auto start = means.back().to_vector();
    expected.emplace_back(start.begin(), start.end());
  }
  RunningAverage average(means, values);
  average.update(Tensor::of(0.25, dtype::f32, device));
  follow(0.25);
  values[2].copy_from(means[2].clone());
  average.update(Tensor::of(0.5, dtype::f32, device));
  follow(0.5);
  std::vector<std::vector<float>> result;
  for (const Tensor& mean : means) result.push_back(mean.to_vector());
  for (std::size_t i = 0; i < result.size(); ++i) {
    double worst = 0;
    for (std::size_t j = 0; j < result[i].size(); ++j)
      worst = std::max(worst, std::abs(static_cast<double>(result[i][j]) - expected[i][j]));
    CHECK(worst <= 2e-7);
  }
  return result;
}

}  // namespace

TEST_CASE("running averages follow their values, on every device", "[train]") {
  for (const Device& device : devices()) {
    INFO(device);
    averages(device);
  }
  RunningAverage({}, {}).update({});
}

TEST_CASE("running averages are the same for any number of threads", "[train][threads]") {
  const int before = num_threads();
  set_num_threads(1);
  const auto one = averages(Device::cpu());
  set_num_threads(5);
  CHECK(averages(Device::cpu()) == one);
  set_num_threads(before);
}

TEST_CASE("running averages refuse what they cannot follow", "[train]") {
  CHECK(
      throws_with([] { RunningAverage({zeros({2})}, {}); }, "[RunningAverage] expected a mean for each of 0 tensors"));
  CHECK(throws_with([] { RunningAverage({zeros({2})}, {zeros({3})}); }, "expected f32 [2] on cpu, got f32 [3] on cpu"));
  CHECK(throws_with([] { RunningAverage({zeros({2})}, {zeros({2}, dtype::bf16)}); }, "got bf16 [2]"));
  CHECK(throws_with([] { RunningAverage({zeros({2})}, {zeros({2})}).update(zeros({2})); },
                    "expected one number on cpu, got [2] on cpu"));
}
