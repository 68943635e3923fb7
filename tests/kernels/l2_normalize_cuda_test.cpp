#include "kernels/l2_normalize.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA l2_normalize", "[kernels][cuda]") {
  if (!have_device()) return;
  constexpr float eps = 1e-2f;
  for_each_rows([=]<class T>(std::int64_t rows, std::int64_t cols, std::int64_t shift) {
    const std::int64_t n = rows * cols;
    auto x = random_values<T>(n, -1, 1, 1);
    const auto dy = random_values<T>(n, -1, 1, 2);
    if (rows > 0) std::fill_n(x.begin(), cols, T(1e-5f));  // the first row's norm is below eps
    DeviceArray<T> xs(x, shift), dys(dy, shift), y(n, shift), dx(n, shift);
    DeviceArray<float> norm(rows);
    cuda::l2_normalize_forward(y.data(), norm.data(), xs.data(), eps, rows, cols, nullptr);
    cuda::l2_normalize_backward(dx.data(), dys.data(), xs.data(), norm.data(), eps, rows, cols, nullptr);
    const std::vector<double> in = widened(x), gradient = widened(dy);
    std::vector<double> expected_y, expected_dx, norms;
    for (std::int64_t r = 0; r < rows; ++r) {
      double squares = 0, dot = 0;
      for (std::int64_t c = 0; c < cols; ++c) {
        const auto i = static_cast<std::size_t>(r * cols + c);
        squares += in[i] * in[i];
        dot += in[i] * gradient[i];
      }
      norms.push_back(std::sqrt(squares));
      const double length = std::max(norms.back(), static_cast<double>(eps));
      for (std::int64_t c = 0; c < cols; ++c) {
        const auto i = static_cast<std::size_t>(r * cols + c);
        expected_y.push_back(in[i] / length);
        const double along = norms.back() >= static_cast<double>(eps) ? in[i] * dot / (length * length) : 0;
        expected_dx.push_back((gradient[i] - along) / length);
      }
    }
    CHECK(worst_error(y.read(), expected_y) <= rounding<T>);
    CHECK(worst_error(norm.read(), norms) <= 2e-6);
    CHECK(worst_error(dx.read(), expected_dx) <= rounding<T>);
  });
}
