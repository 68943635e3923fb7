#include "kernels/adamw.hpp"

#include <memory>

#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA AdamW moves all tensors in one launch, by gradients that may be clipped", "[kernels][cuda]") {
  if (!have_device()) return;
  const bool scaled = GENERATE(false, true);
  struct Parameter {
    std::vector<float> values[4];  // p, m, v, g
    std::unique_ptr<DeviceArray<float>> arrays[4];
  };
  std::vector<Parameter> parameters;
  std::vector<cuda::Listed<kernels::AdamWTensor>> tensors;
  std::vector<kernels::AdamWRates> rates;
  std::int64_t blocks = 0;
  for (const std::int64_t count : {4096, 1, 0, 5000, 12288, 4096}) {
    const std::size_t index = parameters.size();
    Parameter& parameter = parameters.emplace_back();
    for (std::uint64_t k = 0; k < 4; ++k) {
      parameter.values[k] = random_values<float>(count, k == 2 ? 0 : -1, 1, 4 * index + k);
      parameter.arrays[k] = std::make_unique<DeviceArray<float>>(parameter.values[k], index == 5 ? 1 : 0);
    }
    const auto lr = 0.01f * static_cast<float>(index + 1);
    tensors.push_back({.tensor = {.p = parameter.arrays[0]->data(),
                                  .m = parameter.arrays[1]->data(),
                                  .v = parameter.arrays[2]->data(),
                                  .g = parameter.arrays[3]->data(),
                                  .count = count,
                                  .steps = nullptr,
                                  .settings = nullptr},
                       .first = blocks});
    rates.push_back({.keep = 1 - lr * 0.5f,
                     .beta1_rest = 0.25f,
                     .beta2 = 0.875f,
                     .beta2_rest = 0.125f,
                     .step = lr,
                     .correction = 1.5f,
                     .eps = 1e-8f});
    blocks += cuda::list_blocks(count);
  }
  DeviceArray<cuda::Listed<kernels::AdamWTensor>> device_tensors(tensors);
  DeviceArray<kernels::AdamWRates> device_rates(rates);
  const cuda::TensorList<kernels::AdamWTensor> list{device_tensors.data(), std::ssize(tensors), blocks};
  double squares = 0;
  for (const Parameter& parameter : parameters)
    for (const double g : widened(parameter.values[3])) squares += g * g;
  const double norm = std::sqrt(squares);
  DeviceArray<float> factor(1), same(1), none(1);
  DeviceArray<double> partial(blocks);
  for (DeviceArray<float>* out : {&factor, &same}) cuda::clip_factor(out->data(), partial.data(), list, 2, nullptr);
  cuda::clip_factor(none.data(), partial.data(), list, static_cast<float>(norm) * 1.01f, nullptr);
  const double scale = 2 / (norm + 1e-6);
  CHECK(std::abs(static_cast<double>(factor.read()[0]) / scale - 1) <= 4e-7);
  CHECK(same_bits(factor.read(), same.read()));
  CHECK(none.read()[0] == 1);
  partial.read();

  cuda::adamw(list, device_rates.data(), scaled ? factor.data() : nullptr, nullptr);
  for (std::size_t index = 0; index < tensors.size(); ++index) {
    INFO("tensor " << index);
    const auto p = widened(parameters[index].values[0]), m = widened(parameters[index].values[1]);
    const auto v = widened(parameters[index].values[2]);
    auto g = widened(parameters[index].values[3]);
    for (double& value : g) value *= scaled ? scale : 1;
    std::vector<double> moved, mean, square;
    for (std::size_t i = 0; i < p.size(); ++i) {
      mean.push_back(m[i] + 0.25 * (g[i] - m[i]));
      square.push_back(v[i] * 0.875 + 0.125 * g[i] * g[i]);
      moved.push_back(p[i] * static_cast<double>(rates[index].keep) -
                      static_cast<double>(rates[index].step) * mean[i] / (std::sqrt(square[i]) * 1.5 + 1e-8));
    }
    CHECK(worst_error(parameters[index].arrays[0]->read(), moved) <= 1e-6);
    CHECK(worst_error(parameters[index].arrays[1]->read(), mean) <= 2e-7);
    CHECK(worst_error(parameters[index].arrays[2]->read(), square) <= 2e-7);
    CHECK(same_bits(parameters[index].arrays[3]->read(), parameters[index].values[3]));
  }
}

TEST_CASE("CUDA AdamW counts each tensor's steps, and makes its rates of them", "[kernels][cuda]") {
  if (!have_device()) return;
  const std::vector<kernels::AdamWSettings> settings = {{1e-2, 0.1, 0.9, 0.999, 1e-8}, {3e-3, 0, 0.8, 0.95, 1e-3}};
  std::vector<std::int64_t> steps = {0, 1, 9, 1000, 123456};
  steps.resize(600, 41);
  DeviceArray<kernels::AdamWSettings> settings_there(settings);
  DeviceArray<std::int64_t> steps_there(steps);
  std::vector<cuda::Listed<kernels::AdamWTensor>> tensors(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    tensors[i].tensor.steps = steps_there.data() + i;
    tensors[i].tensor.settings = settings_there.data() + i % 2;
  }
  DeviceArray<cuda::Listed<kernels::AdamWTensor>> tensors_there(tensors);
  DeviceArray<kernels::AdamWRates> rates(std::ssize(tensors));
  cuda::adamw_rates(rates.data(), {tensors_there.data(), std::ssize(tensors), 0}, nullptr);
  const std::vector<kernels::AdamWRates> made = rates.read();
  const std::vector<std::int64_t> counted = steps_there.read();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    INFO("tensor " << i);
    const kernels::AdamWSettings& s = settings[i % 2];
    const auto t = static_cast<double>(steps[i] + 1);
    CHECK(counted[i] == steps[i] + 1);
    CHECK(made[i].keep == static_cast<float>(1 - s.lr * s.weight_decay));
    CHECK(made[i].beta1_rest == static_cast<float>(1 - s.beta1));
    CHECK(made[i].beta2 == static_cast<float>(s.beta2));
    CHECK(made[i].beta2_rest == static_cast<float>(1 - s.beta2));
    CHECK(made[i].eps == static_cast<float>(s.eps));
    CHECK(made[i].step == Approx(s.lr / (1 - std::pow(s.beta1, t))).epsilon(2e-7));
    CHECK(made[i].correction == Approx(1 / std::sqrt(1 - std::pow(s.beta2, t))).epsilon(2e-7));
  }
}

TEST_CASE("bytes reach a GPU's memory as arguments of launches", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const std::size_t count : {0u, 1u, 447u, 448u, 449u, 1000u}) {
    std::vector<std::int64_t> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<std::int64_t>(i * 0x9E3779B97F4A7C15u);
    DeviceArray<std::int64_t> there(std::ssize(values));
    std::vector<std::int64_t> gone = values;
    cuda::write_arguments(there.data(), gone.data(), 8 * count, nullptr);
    std::fill(gone.begin(), gone.end(), 0);
    CHECK(there.read() == values);
  }
}
