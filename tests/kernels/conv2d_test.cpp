#include "kernels/conv2d.hpp"

#include <omp.h>

#include <algorithm>
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

/// Computed directly with 24 channels, by Winograd's method with 32.
Conv2dShape shape_of(std::int64_t in) {
  return {.n = 4, .h = 13, .w = 12, .in = in, .out = 48, .kernel_h = 3, .kernel_w = 3, .padding = 1};
}

/// Every kernel's output, one after another, from operands at an odd alignment.
std::vector<float> all_kernels(const Conv2dShape& shape) {
  const std::int64_t x_size = 4 * 13 * 12 * shape.in, y_size = 4 * 13 * 12 * 48, w_size = 48 * 9 * shape.in;
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
  const Conv2dShape shape = shape_of(GENERATE(24, 32));
  const std::vector<float> expected = all_kernels(shape);
  CHECK(all_kernels(shape) == expected);
  std::vector<std::vector<float>> results(3);
#pragma omp parallel for num_threads(3)
  for (int i = 0; i < 3; ++i) results[static_cast<std::size_t>(i)] = all_kernels(shape);
  for (const std::vector<float>& result : results) {
    REQUIRE(result.size() == expected.size());
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(result[i] == Approx(expected[i]).margin(1e-3));
  }
}

TEST_CASE("Winograd's convolution is the same for any number of threads", "[kernels][onednn]") {
  const Conv2dShape shape = shape_of(32);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<float> expected = all_kernels(shape);
  const std::size_t sums = 1 + 4 * 13 * 12 * (48 + 32);  // of y and dx; dw is summed by threads
  for (const int threads : {2, 3, 7}) {
    omp_set_num_threads(threads);
    const std::vector<float> result = all_kernels(shape);
    CHECK(std::equal(expected.begin(), expected.begin() + sums, result.begin()));
  }
  omp_set_num_threads(before);
}
