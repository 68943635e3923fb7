#include "kernels/layer_norm.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

constexpr double eps = 1e-5;

struct Expected {
  std::vector<double> y, mean, rstd, dx, dw, db;
};

Expected layer_norm(const std::vector<double>& x, const std::vector<double>& dy, const std::vector<double>& weight,
                    const std::vector<double>& bias, std::size_t rows) {
  const std::size_t cols = weight.size();
  const auto count = static_cast<double>(cols);
  Expected e;
  e.dw.resize(cols);
  e.db.resize(cols);
  for (std::size_t r = 0; r < rows; ++r) {
    const double *in = x.data() + r * cols, *gradient = dy.data() + r * cols;
    double mean = 0, variance = 0, g = 0, gn = 0;
    for (std::size_t c = 0; c < cols; ++c) mean += in[c] / count;
    for (std::size_t c = 0; c < cols; ++c) variance += (in[c] - mean) * (in[c] - mean) / count;
    const double rstd = 1 / std::sqrt(variance + eps);
    e.mean.push_back(mean);
    e.rstd.push_back(rstd);
    for (std::size_t c = 0; c < cols; ++c) {
      const double n = (in[c] - mean) * rstd;
      e.y.push_back(n * weight[c] + bias[c]);
      g += gradient[c] * weight[c] / count;
      gn += gradient[c] * weight[c] * n / count;
      e.dw[c] += gradient[c] * n;
      e.db[c] += gradient[c];
    }
    for (std::size_t c = 0; c < cols; ++c)
      e.dx.push_back(rstd * (gradient[c] * weight[c] - g - (in[c] - mean) * rstd * gn));
  }
  return e;
}

}  // namespace

TEST_CASE("CUDA layer_norm", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_rows([]<class T>(std::int64_t rows, std::int64_t cols, std::int64_t shift) {
    const std::int64_t n = rows * cols, blocks = cuda::column_sum_blocks(rows);
    if (n == 0) return;  // the mean of nothing is nothing to test
    const auto x = random_values<T>(n, -1, 3, 1), dy = random_values<T>(n, -1, 1, 2);
    const auto w = random_values<float>(cols, 0.5, 1.5, 3), b = random_values<float>(cols, -1, 1, 4);
    DeviceArray<T> xs(x, shift), dys(dy, shift), y(n, shift), dx(n, shift), dx_again(n, shift);
    DeviceArray<float> weight(w, shift), bias(b, shift), mean(rows), rstd(rows);
    DeviceArray<float> partial(blocks * 2 * cols), partial_again(blocks * 2 * cols);
    cuda::layer_norm_forward(y.data(), mean.data(), rstd.data(), xs.data(), weight.data(), bias.data(),
                             static_cast<float>(eps), rows, cols, nullptr);
    const auto backward = [&](DeviceArray<T>& out, DeviceArray<float>& sums) {
      cuda::layer_norm_backward(out.data(), sums.data(), dys.data(), xs.data(), mean.data(), rstd.data(), weight.data(),
                                rows, cols, nullptr);
    };
    backward(dx, partial);
    backward(dx_again, partial_again);
    const Expected e = layer_norm(widened(x), widened(dy), widened(w), widened(b), static_cast<std::size_t>(rows));
    CHECK(worst_error(y.read(), e.y) <= rounding<T>);
    CHECK(worst_error(mean.read(), e.mean) <= 1e-6);
    CHECK(worst_error(rstd.read(), e.rstd) <= (cols == 1 ? 1e-4 : 2e-6));  // 1 / sqrt(eps), eps rounded
    CHECK(worst_error(dx.read(), e.dx) <= (cols == 1 ? 1e-3 : rounding<T>));
    std::vector<double> sums(static_cast<std::size_t>(2 * cols));
    const std::vector<float> parts = partial.read();
    for (std::size_t i = 0; i < parts.size(); ++i) sums[i % sums.size()] += static_cast<double>(parts[i]);
    const std::vector<float> total(sums.begin(), sums.end());
    std::vector<double> expected = e.dw;
    expected.insert(expected.end(), e.db.begin(), e.db.end());
    CHECK(worst_error(total, expected) <= 4e-6);
    CHECK(same_bits(dx.read(), dx_again.read()));
    CHECK(same_bits(parts, partial_again.read()));
  });
}

TEST_CASE("CUDA layer_norm of many rows for each block of threads", "[kernels][cuda]") {
  if (!have_device()) return;
  constexpr std::int64_t rows = 8 * 1056 + 5, cols = 4, blocks = cuda::column_sum_blocks(rows);
  const auto x = random_values<float>(rows * cols, -1, 1, 1), dy = random_values<float>(rows * cols, -1, 1, 2);
  DeviceArray<float> xs(x), dys(dy), y(rows * cols), dx(rows * cols), mean(rows), rstd(rows),
      partial(blocks * 2 * cols);
  DeviceArray<float> weight(std::vector<float>(cols, 1.0f)), bias(std::vector<float>(cols, 0.0f));
  cuda::layer_norm_forward(y.data(), mean.data(), rstd.data(), xs.data(), weight.data(), bias.data(),
                           static_cast<float>(eps), rows, cols, nullptr);
  cuda::layer_norm_backward(dx.data(), partial.data(), dys.data(), xs.data(), mean.data(), rstd.data(), weight.data(),
                            rows, cols, nullptr);
  const Expected e = layer_norm(widened(x), widened(dy), {1, 1, 1, 1}, {0, 0, 0, 0}, rows);
  CHECK(worst_error(y.read(), e.y) <= 1e-5);
  CHECK(worst_error(dx.read(), e.dx) <= 1e-4);
  std::vector<double> sums(2 * cols);
  const std::vector<float> parts = partial.read();
  for (std::size_t i = 0; i < parts.size(); ++i) sums[i % sums.size()] += static_cast<double>(parts[i]);
  const std::vector<float> total(sums.begin(), sums.end());
  CHECK(worst_error(total, {e.dw[0], e.dw[1], e.dw[2], e.dw[3], e.db[0], e.db[1], e.db[2], e.db[3]}) <= 1e-5);
}
