#include "kernels/cross_entropy.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

struct Expected {
  double mean = 0;
  std::vector<double> lse, dx, dt;
};

Expected cross_entropy(const std::vector<double>& x, const std::vector<double>& t, double dmean, std::size_t rows) {
  const std::size_t cols = x.size() / rows;
  const double scale = dmean / static_cast<double>(rows);
  Expected e;
  for (std::size_t r = 0; r < rows; ++r) {
    double sum = 0, total = 0;
    for (std::size_t c = 0; c < cols; ++c) sum += std::exp(x[r * cols + c]);
    const double lse = std::log(sum);
    e.lse.push_back(lse);
    for (std::size_t i = r * cols; i < (r + 1) * cols; ++i) {
      total += t[i];
      e.mean += t[i] * (lse - x[i]) / static_cast<double>(rows);
    }
    for (std::size_t i = r * cols; i < (r + 1) * cols; ++i) {
      e.dx.push_back((std::exp(x[i] - lse) * total - t[i]) * scale);
      e.dt.push_back((lse - x[i]) * scale);
    }
  }
  return e;
}

template <class T, class I>
void check_classes(const std::vector<T>& x, std::int64_t rows, std::int64_t cols, std::int64_t shift) {
  std::vector<I> classes;
  std::vector<double> t(x.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    classes.push_back(static_cast<I>(philox(9, static_cast<std::uint64_t>(r))[0] % cols));
    t[static_cast<std::size_t>(r * cols + classes.back())] = 1;
  }
  DeviceArray<T> xs(x, shift), dx(rows * cols, shift), mean(1), dmean(std::vector<T>{T(0.75f)});
  DeviceArray<I> ids(classes);
  DeviceArray<float> lse(rows), scratch(rows);
  cuda::cross_entropy_forward(mean.data(), lse.data(), xs.data(), ids.data(), rows, cols, scratch.data(), nullptr);
  cuda::cross_entropy_backward(dx.data(), dmean.data(), xs.data(), ids.data(), lse.data(), rows, cols, nullptr);
  const Expected e = cross_entropy(widened(x), t, 0.75, static_cast<std::size_t>(rows));
  CHECK(worst_error(mean.read(), {e.mean}) <= rounding<T>);
  CHECK(worst_error(lse.read(), e.lse) <= 2e-6);
  CHECK(worst_error(dx.read(), e.dx) <= rounding<T>);
}

}  // namespace

TEST_CASE("CUDA cross_entropy", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_rows([]<class T>(std::int64_t rows, std::int64_t cols, std::int64_t shift) {
    const std::int64_t n = rows * cols;
    if (n == 0) return;  // the mean of nothing
    // so small that f16 holds the mean of 33,000 columns
    const auto x = random_values<T>(n, -8, 8, 1), t = random_values<T>(n, -0.3, 0.4, 2);
    check_classes<T, std::int32_t>(x, rows, cols, shift);
    check_classes<T, std::int64_t>(x, rows, cols, shift);
    DeviceArray<T> xs(x, shift), ts(t, shift), dx(n, shift), dt(n, shift), mean(1), dmean(std::vector<T>{T(0.75f)});
    DeviceArray<float> lse(rows), scratch(rows);
    cuda::soft_cross_entropy_forward(mean.data(), lse.data(), xs.data(), ts.data(), rows, cols, scratch.data(),
                                     nullptr);
    cuda::soft_cross_entropy_backward(dx.data(), dmean.data(), xs.data(), ts.data(), lse.data(), rows, cols, nullptr);
    cuda::soft_cross_entropy_targets_backward(dt.data(), dmean.data(), xs.data(), lse.data(), rows, cols, nullptr);
    const Expected e = cross_entropy(widened(x), widened(t), 0.75, static_cast<std::size_t>(rows));
    CHECK(worst_error(mean.read(), {e.mean}) <= rounding<T>);
    CHECK(worst_error(dx.read(), e.dx) <= rounding<T>);
    CHECK(worst_error(dt.read(), e.dt) <= rounding<T>);
  });
}

TEST_CASE("CUDA cross_entropy of more rows than a block of threads adds up at once", "[kernels][cuda]") {
  if (!have_device()) return;
  check_classes<float, std::int32_t>(random_values<float>(1500 * 3, -2, 2, 1), 1500, 3, 0);
}

TEST_CASE("CUDA cross_entropy of logits that are -infinity where the target is 0", "[kernels][cuda]") {
  if (!have_device()) return;
  const float inf = HUGE_VALF;
  DeviceArray<float> x(std::vector<float>{-inf, 1, 1}), t(std::vector<float>{0, 0.5, 0.5}), mean(1), lse(1), scratch(1);
  cuda::soft_cross_entropy_forward(mean.data(), lse.data(), x.data(), t.data(), 1, 3, scratch.data(), nullptr);
  CHECK(worst_error(mean.read(), {std::log(2.0)}) <= 1e-6);
}
