#include "kernels/reduce.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA sum", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t outer, n, inner, shift;
  };
  for_each_type([]<class T>() {
    for (const Case& c : {Case{7, 300, 1, 0},
                          {1, 33000, 1, 1},
                          {2, 0, 1, 0},
                          {2, 0, 16, 0},
                          {3, 1, 8, 0},
                          {2, 9, 7, 0},
                          {2, 100, 264, 0},
                          {1, 65, 264, 1},
                          {1, 1000, 40, 0},
                          {0, 4, 8, 0}}) {
      INFO("[" << c.outer << ", " << c.n << ", " << c.inner << "]");
      const auto x = random_values<T>(c.outer * c.n * c.inner, -1, 1, 1);
      DeviceArray<T> xs(x, c.shift);
      DeviceArray<float> y(c.outer * c.inner);
      cuda::sum(y.data(), xs.data(), c.outer, c.n, c.inner, nullptr);
      std::vector<double> expected(static_cast<std::size_t>(c.outer * c.inner));
      const std::vector<double> in = widened(x);
      for (std::int64_t i = 0; i < c.outer * c.n * c.inner; ++i)
        expected[static_cast<std::size_t>(i / (c.n * c.inner) * c.inner + i % c.inner)] +=
            in[static_cast<std::size_t>(i)];
      CHECK(worst_error(y.read(), expected) <= 2e-5);  // a thread adds 125 in turn
    }
  });
}
