#include "kernels/dropout.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA dropout keeps the elements that the words of Philox say", "[kernels][cuda]") {
  if (!have_device()) return;
  const std::uint64_t seed = 0xfedcba9876543210u, offset = 0xfffffffeu;  // the counter's carry is crossed
  for_each_type([=]<class T>() {
    for (const float p : {1e-30f, 0.3f, 1.0f})
      for (const std::int64_t n : {std::int64_t{0}, std::int64_t{3}, std::int64_t{2050}, std::int64_t{4101}}) {
        INFO("p = " << p << ", " << n << " elements");
        const std::int64_t shift = n == 4101 ? 1 : 0;
        const auto x = random_values<T>(n, -1, 1, 1), residual = random_values<T>(n, -1, 1, 2);
        DeviceArray<T> xs(x, shift), residuals(residual, shift), y(n, shift), sum(n, shift);
        DeviceArray<std::int64_t> base(std::vector<std::int64_t>{7});
        cuda::dropout(y.data(), xs.data(), {p, seed, offset}, n, nullptr);
        cuda::dropout_add(sum.data(), xs.data(), residuals.data(), {p, seed, offset - 7, base.data()}, n, nullptr);
        const float scale = 1.0f / (1.0f - p);
        std::vector<T> expected;
        std::vector<double> expected_sum;
        for (std::size_t i = 0; i < x.size(); ++i) {
          const bool keep = philox(seed, offset + i / 4)[i % 4] >= kernels::dropout_threshold(p);
          const float kept = keep ? static_cast<float>(x[i]) * scale : 0.0f;
          expected.push_back(T(kept));
          expected_sum.push_back(static_cast<double>(kept) + static_cast<double>(static_cast<float>(residual[i])));
        }
        CHECK(same_bits(y.read(), expected));
        CHECK(worst_error(sum.read(), expected_sum) <= rounding<T>);
      }
  });
}
