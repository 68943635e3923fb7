#include "kernels/batch_norm.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

constexpr double eps = 1e-3;

struct Expected {
  std::vector<double> mean, variance, rstd, y, sums, dx, dx_running;
};

/// `sums` are those of the gradients of weight and bias.
Expected batch_norm(const std::vector<double>& x, const std::vector<double>& dy, const std::vector<double>& weight,
                    const std::vector<double>& bias, std::size_t rows) {
  const std::size_t cols = weight.size();
  const auto count = static_cast<double>(rows);
  Expected e;
  e.mean.resize(cols), e.variance.resize(cols), e.sums.resize(2 * cols);
  for (std::size_t i = 0; i < x.size(); ++i) e.mean[i % cols] += x[i] / count;
  for (std::size_t i = 0; i < x.size(); ++i) e.variance[i % cols] += std::pow(x[i] - e.mean[i % cols], 2) / count;
  for (const double v : e.variance) e.rstd.push_back(1 / std::sqrt(v + eps));
  const auto normal = [&](std::size_t i) { return (x[i] - e.mean[i % cols]) * e.rstd[i % cols]; };
  for (std::size_t i = 0; i < x.size(); ++i) {
    e.y.push_back(normal(i) * weight[i % cols] + bias[i % cols]);
    e.sums[i % cols] += dy[i] * normal(i);
    e.sums[cols + i % cols] += dy[i];
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % cols;
    e.dx_running.push_back(weight[c] * e.rstd[c] * dy[i]);
    e.dx.push_back(weight[c] * e.rstd[c] * (dy[i] - (e.sums[cols + c] + normal(i) * e.sums[c]) / count));
  }
  return e;
}

}  // namespace

TEST_CASE("CUDA batch_norm", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t rows, cols, shift;
  };
  for_each_type([]<class T>() {
    for (const Case& c : {Case{2, 64, 0}, {300, 1, 0}, {70, 7, 0}, {300, 24, 1}, {65, 264, 0}, {2100, 8, 0}}) {
      const std::int64_t rows = c.rows, cols = c.cols, shift = c.shift;
      INFO("[" << rows << ", " << cols << "], " << shift << " elements past an aligned address");
      const std::int64_t n = rows * cols, scratch = cuda::batch_norm_blocks(rows, cols) * 2 * cols;
      const auto x = random_values<T>(n, -1, 3, 1), dy = random_values<T>(n, -1, 1, 2);
      const auto w = random_values<float>(cols, 0.5, 1.5, 3), b = random_values<float>(cols, -1, 1, 4);
      DeviceArray<T> xs(x, shift), dys(dy, shift), y(n, shift), dx(n, shift), dx_running(n, shift);
      DeviceArray<float> weight(w, shift), bias(b, shift), mean(cols, shift), variance(cols), rstd(cols, shift);
      DeviceArray<float> partial(scratch), sums(2 * cols), mean_again(cols), variance_again(cols), sums_again(2 * cols);
      cuda::batch_norm_statistics(mean.data(), variance.data(), partial.data(), xs.data(), rows, cols, nullptr);
      cuda::batch_norm_statistics(mean_again.data(), variance_again.data(), partial.data(), xs.data(), rows, cols,
                                  nullptr);
      cuda::batch_norm_rstd(rstd.data(), variance.data(), static_cast<float>(eps), cols, nullptr);
      cuda::batch_norm_forward(y.data(), xs.data(), mean.data(), rstd.data(), weight.data(), bias.data(), rows, cols,
                               nullptr);
      for (DeviceArray<float>* out : {&sums, &sums_again})
        cuda::batch_norm_parameter_gradients(out->data(), partial.data(), dys.data(), xs.data(), mean.data(),
                                             rstd.data(), rows, cols, nullptr);
      const auto backward = [&](DeviceArray<T>& out, const float* own) {
        cuda::batch_norm_backward(out.data(), dys.data(), xs.data(), mean.data(), rstd.data(), weight.data(), own, rows,
                                  cols, nullptr);
      };
      backward(dx, sums.data());
      backward(dx_running, nullptr);
      partial.read();
      const Expected e = batch_norm(widened(x), widened(dy), widened(w), widened(b), static_cast<std::size_t>(rows));
      CHECK(worst_error(mean.read(), e.mean) <= 1e-6);
      CHECK(worst_error(variance.read(), e.variance) <= 1e-6);
      CHECK(worst_error(rstd.read(), e.rstd) <= 4e-6);
      CHECK(worst_error(y.read(), e.y) <= rounding<T>);
      CHECK(worst_error(sums.read(), e.sums) <= 1e-5);
      CHECK(worst_error(dx.read(), e.dx) <= rounding<T> + 1e-5);
      CHECK(worst_error(dx_running.read(), e.dx_running) <= rounding<T>);
      CHECK(same_bits(mean.read(), mean_again.read()));
      CHECK(same_bits(variance.read(), variance_again.read()));
      CHECK(same_bits(sums.read(), sums_again.read()));
    }
  });
}

TEST_CASE("CUDA batch_norm keeps its variance where the mean is large, and moves running statistics",
          "[kernels][cuda]") {
  if (!have_device()) return;
  constexpr std::int64_t rows = 3000, cols = 3;
  std::vector<float> x;
  for (std::int64_t i = 0; i < rows * cols; ++i) x.push_back(i % 2 == 0 ? 10000.5f : 9999.5f);
  DeviceArray<float> xs(x), mean(cols), variance(cols), partial(cuda::batch_norm_blocks(rows, cols) * 2 * cols);
  DeviceArray<float> running_mean(std::vector<float>(cols, 1)), running_variance(std::vector<float>(cols, 2));
  cuda::batch_norm_statistics(mean.data(), variance.data(), partial.data(), xs.data(), rows, cols, nullptr);
  CHECK(worst_error(mean.read(), std::vector<double>(cols, 10000)) <= 1e-7);
  CHECK(worst_error(variance.read(), std::vector<double>(cols, 0.25)) <= 1e-3);
  cuda::batch_norm_update(running_mean.data(), running_variance.data(), mean.data(), variance.data(), 0.25f, 5, cols,
                          nullptr);
  CHECK(worst_error(running_mean.read(), std::vector<double>(cols, 0.75 + 0.25 * 10000)) <= 1e-6);
  CHECK(worst_error(running_variance.read(), std::vector<double>(cols, 1.5 + 0.25 * 0.25 * 5 / 4)) <= 1e-3);
}
