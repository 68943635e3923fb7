#include "kernels/conv2d.hpp"

#include <omp.h>

#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

using namespace clip;
using namespace clip::test;
using namespace clip::kernels::cpu;
using kernels::Conv2dShape;

namespace {

std::vector<float> random_floats(std::int64_t n, std::uint64_t salt) {
  const Array values = random_array({n}, -1, 1, salt);
  return {values.values.begin(), values.values.end()};
}

constexpr Conv2dShape shape{.n = 4, .h = 13, .w = 12, .in = 24, .out = 40, .kernel_h = 3, .kernel_w = 3, .padding = 1};

/// Every kernel's output, one after another, from operands at an odd alignment.
std::vector<float> all_kernels() {
  const std::int64_t x_size = 4 * 13 * 12 * 24, y_size = 4 * 13 * 12 * 40, w_size = 40 * 24 * 9;
  const std::vector<float> x = random_floats(x_size + 1, 1), w = random_floats(w_size + 1, 2),
                           dy = random_floats(y_size + 1, 3);
  std::vector<float> results(static_cast<std::size_t>(1 + y_size + x_size + w_size));
  float* out = results.data() + 1;
  conv2d_forward<float>(out, x.data() + 1, w.data() + 1, shape);
  conv2d_backward_data<float>(out + y_size, dy.data() + 1, w.data() + 1, shape);
  conv2d_backward_weights<float>(out + y_size + x_size, dy.data() + 1, x.data() + 1, shape);
  return results;
}

}  // namespace

TEST_CASE("conv2d kernels run inside a parallel region", "[kernels][onednn]") {
  const std::vector<float> expected = all_kernels();
  CHECK(all_kernels() == expected);
  std::vector<std::vector<float>> results(3);
#pragma omp parallel for num_threads(3)
  for (int i = 0; i < 3; ++i) results[static_cast<std::size_t>(i)] = all_kernels();
  for (const std::vector<float>& result : results) {
    REQUIRE(result.size() == expected.size());
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(result[i] == Approx(expected[i]).margin(1e-3));
  }
}
