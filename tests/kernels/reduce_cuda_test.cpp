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

TEST_CASE("CUDA max", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t outer, n, inner, shift;
  };
  for_each_type([]<class T>() {
    for (const Case& c : {Case{13, 70, 1, 0},
                          {1, 5000, 1, 1},
                          {3, 1, 8, 0},
                          {2, 9, 7, 0},
                          {2, 100, 45, 1},
                          {1, 3, 300, 0},
                          {0, 4, 8, 0}}) {
      INFO("[" << c.outer << ", " << c.n << ", " << c.inner << "]");
      const std::int64_t count = c.outer * c.n * c.inner;
      auto x = random_values<T>(count, -4, 0, 1);
      for (std::size_t i = 0; i < x.size(); i += 7)
        x[i] = T(i % 2 == 0 ? 0.0f : -0.0f);  // equal, and often the maximum
      for (std::size_t i = 5; i < x.size(); i += 301) x[i] = T(std::nanf(""));
      const auto dy = random_values<T>(c.outer * c.inner, -1, 1, 2);
      const std::vector<double> in = widened(x);
      std::vector<T> top, dx_expected(x.size(), T(0.0f));
      std::vector<std::int64_t> first;
      for (std::int64_t column = 0; column < c.outer * c.inner; ++column) {
        const auto at = [&](std::int64_t k) {
          return static_cast<std::size_t>((column / c.inner * c.n + k) * c.inner + column % c.inner);
        };
        std::int64_t best = 0;
        for (std::int64_t k = 1; k < c.n; ++k)
          if (in[at(k)] > in[at(best)] || (std::isnan(in[at(k)]) && !std::isnan(in[at(best)]))) best = k;
        dx_expected[at(best)] = dy[first.size()];
        first.push_back(best);
        top.push_back(x[at(best)]);
      }
      DeviceArray<T> xs(x, c.shift), dys(dy, c.shift), y(c.outer * c.inner, c.shift), dx(count, c.shift);
      DeviceArray<std::int64_t> index(c.outer * c.inner);
      cuda::max(y.data(), index.data(), xs.data(), c.outer, c.n, c.inner, nullptr);
      cuda::max_backward(dx.data(), dys.data(), index.data(), c.outer, c.n, c.inner, nullptr);
      CHECK(same_bits(y.read(), top));
      CHECK(index.read() == first);
      CHECK(same_bits(dx.read(), dx_expected));
    }
  });
}
