#include "kernels/softmax.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

struct Expected {
  std::vector<double> y, log_y, dx, log_dx;
};

/// In double; the gradients from y and log y as the kernels get them.
template <class T>
Expected softmax(const std::vector<T>& x, const std::vector<T>& dy, const std::vector<T>& y,
                 const std::vector<T>& log_y, std::int64_t rows, std::int64_t cols) {
  Expected e;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto at = [&](const std::vector<T>& v, std::int64_t c) {
      return static_cast<double>(static_cast<float>(v[static_cast<std::size_t>(r * cols + c)]));
    };
    double top = -HUGE_VAL, sum = 0, dot = 0, total = 0;
    for (std::int64_t c = 0; c < cols; ++c) top = std::max(top, at(x, c));
    for (std::int64_t c = 0; c < cols; ++c) {
      sum += std::exp(at(x, c) - top);
      dot += at(dy, c) * at(y, c);
      total += at(dy, c);
    }
    for (std::int64_t c = 0; c < cols; ++c) {
      e.y.push_back(std::exp(at(x, c) - top) / sum);
      e.log_y.push_back(at(x, c) - top - std::log(sum));
      e.dx.push_back(at(y, c) * (at(dy, c) - dot));
      e.log_dx.push_back(at(dy, c) - std::exp(at(log_y, c)) * total);
    }
  }
  return e;
}

}  // namespace

TEST_CASE("CUDA softmax and log_softmax", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_rows([]<class T>(std::int64_t rows, std::int64_t cols, std::int64_t shift) {
    const std::int64_t n = rows * cols;
    const auto x = random_values<T>(n, -8, 8, 1), dy = random_values<T>(n, -1, 1, 2);
    DeviceArray<T> xs(x, shift), dys(dy, shift), y(n, shift), log_y(n, shift), dx(n, shift), log_dx(n, shift);
    cuda::softmax_forward(y.data(), xs.data(), rows, cols, nullptr);
    cuda::log_softmax_forward(log_y.data(), xs.data(), rows, cols, nullptr);
    cuda::softmax_backward(dx.data(), dys.data(), y.data(), rows, cols, nullptr);
    cuda::log_softmax_backward(log_dx.data(), dys.data(), log_y.data(), rows, cols, nullptr);
    const Expected e = softmax(x, dy, y.read(), log_y.read(), rows, cols);
    CHECK(worst_error(y.read(), e.y) <= rounding<T>);
    CHECK(worst_error(log_y.read(), e.log_y) <= rounding<T>);
    CHECK(worst_error(dx.read(), e.dx) <= rounding<T>);
    CHECK(worst_error(log_dx.read(), e.log_dx) <= rounding<T>);
    DeviceArray<T> again(n, shift);
    cuda::softmax_forward(again.data(), xs.data(), rows, cols, nullptr);
    CHECK(same_bits(again.read(), y.read()));
  });
}

TEST_CASE("CUDA softmax of special values", "[kernels][cuda]") {
  if (!have_device()) return;
  const float inf = HUGE_VALF, nan = std::nanf("");
  DeviceArray<float> x({-inf, -inf, 1, -inf, 300, 299, nan, 0}), y(8);
  cuda::softmax_forward(y.data(), x.data(), 4, 2, nullptr);
  const double p = 1 / (1 + std::exp(-1.0)), none = std::nan("");
  CHECK(worst_error(y.read(), {none, none, 1, 0, p, 1 - p, none, none}) <= 1e-6);
}
