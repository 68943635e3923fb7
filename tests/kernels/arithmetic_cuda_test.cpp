#include "kernels/arithmetic.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
using kernels::Arithmetic;
using kernels::Broadcast;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA arithmetic broadcasts", "[kernels][cuda]") {
  if (!have_device()) return;
  const Broadcast shapes[] = {
      {.rank = 0},
      {.rank = 1, .extent = {4101}, .a_stride = {1}, .b_stride = {1}},
      {.rank = 1, .extent = {300}, .a_stride = {1}, .b_stride = {0}},
      {.rank = 2, .extent = {5, 64}, .a_stride = {64, 1}, .b_stride = {0, 1}},         // a bias
      {.rank = 2, .extent = {5, 64}, .a_stride = {1, 0}, .b_stride = {64, 1}},         // a column
      {.rank = 2, .extent = {5, 7}, .a_stride = {0, 1}, .b_stride = {7, 1}},           // no whole vectors
      {.rank = 3, .extent = {2, 3, 8}, .a_stride = {8, 0, 1}, .b_stride = {0, 8, 1}},  // both repeat
      {.rank = 3, .extent = {2, 3, 16}, .a_stride = {0, 1, 0}, .b_stride = {0, 0, 0}},
      {.rank = 2, .extent = {0, 8}, .a_stride = {8, 1}, .b_stride = {8, 1}},
  };
  for_each_type([&]<class T>() {
    for (const Broadcast& s : shapes)
      for (const std::int64_t shift : {0, 1}) {
        INFO("rank " << s.rank << ", first extent " << s.extent[0] << ", shift " << shift);
        std::int64_t n = 1;
        for (int d = 0; d < s.rank; ++d) n *= s.extent[static_cast<std::size_t>(d)];
        const auto a = random_values<T>(n + 1, -1, 1, 1), b = random_values<T>(n + 1, 1, 2, 2);
        DeviceArray<T> as(a, shift), bs(b, shift), y(n, shift);
        const std::vector<double> u = widened(a), v = widened(b);
        for (const Arithmetic op : {Arithmetic::add, Arithmetic::sub, Arithmetic::mul, Arithmetic::div}) {
          cuda::arithmetic(op, y.data(), as.data(), bs.data(), s, nullptr);
          std::vector<double> expected;
          for (std::int64_t i = 0; i < n; ++i) {
            std::int64_t rest = i, at_a = 0, at_b = 0;
            for (int d = s.rank - 1; d >= 0; --d) {
              const auto k = static_cast<std::size_t>(d);
              at_a += rest % s.extent[k] * s.a_stride[k];
              at_b += rest % s.extent[k] * s.b_stride[k];
              rest /= s.extent[k];
            }
            const double p = u[static_cast<std::size_t>(at_a)], q = v[static_cast<std::size_t>(at_b)];
            expected.push_back(op == Arithmetic::add   ? p + q
                               : op == Arithmetic::sub ? p - q
                               : op == Arithmetic::mul ? p * q
                                                       : p / q);
          }
          CHECK(worst_error(y.read(), expected) <= rounding<T>);
        }
      }
  });
}

TEST_CASE("CUDA add, affine, exp and log", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([]<class T>() {
    for (const std::int64_t n : {std::int64_t{0}, std::int64_t{3}, std::int64_t{2052}}) {
      const auto a = random_values<T>(n, 0.1, 3, 1), b = random_values<T>(n, -2, 2, 2);
      DeviceArray<T> as(a), bs(b), sum(n), moved(n), power(n), logarithm(n);
      cuda::add(sum.data(), as.data(), bs.data(), n, nullptr);
      cuda::affine(moved.data(), as.data(), -2.5f, 0.25f, n, nullptr);
      cuda::exp(power.data(), bs.data(), n, nullptr);
      cuda::log(logarithm.data(), as.data(), n, nullptr);
      const std::vector<double> u = widened(a), v = widened(b);
      std::vector<double> expected[4];
      for (std::size_t i = 0; i < a.size(); ++i) {
        const double p = u[i], q = v[i];
        expected[0].push_back(p + q);
        expected[1].push_back(-2.5 * p + 0.25);
        expected[2].push_back(std::exp(q));
        expected[3].push_back(std::log(p));
      }
      CHECK(worst_error(sum.read(), expected[0]) <= rounding<T>);
      CHECK(worst_error(moved.read(), expected[1]) <= rounding<T>);
      CHECK(worst_error(power.read(), expected[2]) <= rounding<T>);
      CHECK(worst_error(logarithm.read(), expected[3]) <= rounding<T>);
    }
  });
}
