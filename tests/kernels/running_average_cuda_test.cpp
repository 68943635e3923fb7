#include "kernels/running_average.hpp"

#include <memory>

#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA running averages follow many tensors in one launch", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Pair {
    std::vector<float> mean, value;
    std::unique_ptr<DeviceArray<float>> means, values;
  };
  std::vector<Pair> pairs;
  std::vector<cuda::Listed<kernels::AveragedTensor>> tensors;
  std::int64_t blocks = 0;
  for (const std::int64_t count : {0, 4096, 1, 0, 5000, 12288, 4096, 0}) {
    const std::size_t index = pairs.size();
    Pair& pair = pairs.emplace_back();
    pair.mean = random_values<float>(count, -1, 1, 2 * index);
    pair.value = random_values<float>(count, -1, 1, 2 * index + 1);
    pair.means = std::make_unique<DeviceArray<float>>(pair.mean);
    pair.values = std::make_unique<DeviceArray<float>>(pair.value, index == 6 ? 1 : 0);
    tensors.push_back({.tensor = {pair.means->data(), pair.values->data(), count}, .first = blocks});
    blocks += cuda::list_blocks(count);
  }
  DeviceArray<cuda::Listed<kernels::AveragedTensor>> there(tensors);
  DeviceArray<float> rest(std::vector{0.3f});
  cuda::running_average({there.data(), std::ssize(tensors), blocks}, rest.data(), nullptr);
  for (std::size_t index = 0; index < pairs.size(); ++index) {
    INFO("tensor " << index);
    const auto before = widened(pairs[index].mean), value = widened(pairs[index].value);
    std::vector<double> expected;
    for (std::size_t i = 0; i < value.size(); ++i)
      expected.push_back(before[i] + static_cast<double>(0.3f) * (value[i] - before[i]));
    CHECK(worst_error(pairs[index].means->read(), expected) <= 2e-7);
    CHECK(same_bits(pairs[index].values->read(), pairs[index].value));
  }
}
