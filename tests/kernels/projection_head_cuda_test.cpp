#include "kernels/projection_head.hpp"
#include "tests/support/device_array.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;
using kernels::DropoutMask;
namespace cuda = clip::kernels::cuda;

namespace {

constexpr double eps = 1e-5;

struct Expected {
  std::vector<double> out, dz, dy, sums;
};

/// The tail's LayerNorm of z and its gradients, and what dropout makes of dz.
Expected tail(const std::vector<double>& z, const std::vector<double>& dout, const std::vector<double>& weight,
              const std::vector<double>& bias, const std::vector<double>& factors, std::size_t rows) {
  const std::size_t cols = weight.size();
  const auto count = static_cast<double>(cols);
  Expected e;
  e.sums.resize(3 * cols);
  for (std::size_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0, g = 0, gn = 0;
    for (std::size_t i = r * cols; i < (r + 1) * cols; ++i) mean += z[i] / count;
    for (std::size_t i = r * cols; i < (r + 1) * cols; ++i) variance += (z[i] - mean) * (z[i] - mean) / count;
    const double rstd = 1 / std::sqrt(variance + eps);
    for (std::size_t c = 0; c < cols; ++c) {
      const double n = (z[r * cols + c] - mean) * rstd, d = dout[r * cols + c];
      e.out.push_back(n * weight[c] + bias[c]);
      g += d * weight[c] / count;
      gn += d * weight[c] * n / count;
      e.sums[c] += d * n;
      e.sums[cols + c] += d;
    }
    for (std::size_t c = 0; c < cols; ++c) {
      const std::size_t i = r * cols + c;
      e.dz.push_back(rstd * (dout[i] * weight[c] - g - (z[i] - mean) * rstd * gn));
      e.dy.push_back(e.dz.back() * factors[i]);
      e.sums[2 * cols + c] += e.dy.back();
    }
  }
  return e;
}

/// Partial sums [blocks, count] added up.
std::vector<float> total(const std::vector<float>& partial, std::size_t count) {
  std::vector<double> sums(count);
  for (std::size_t i = 0; i < partial.size(); ++i) sums[i % count] += static_cast<double>(partial[i]);
  return {sums.begin(), sums.end()};
}

template <class T>
void check_tail(std::int64_t rows, std::int64_t cols, std::int64_t shift, const DropoutMask& mask) {
  const std::int64_t n = rows * cols, blocks = cuda::head_blocks(rows);
  const auto y = random_values<T>(n, -2, 2, 1), h = random_values<T>(n, -1, 3, 2), d = random_values<T>(n, -1, 1, 3);
  const auto w = random_values<float>(cols, 0.5, 1.5, 4), b = random_values<float>(cols, -1, 1, 5);
  DeviceArray<T> z(y, shift), hs(h, shift), douts(d, shift), out(n, shift), dz(n, shift), dy(n, shift);
  DeviceArray<float> weight(w, shift), bias(b, shift), mean(rows), rstd(rows), partial(blocks * 3 * cols);
  cuda::head_tail_forward(out.data(), z.data(), mean.data(), rstd.data(), hs.data(), weight.data(), bias.data(),
                          static_cast<float>(eps), mask, rows, cols, nullptr);
  T* const to_y = mask.p > 0 ? dy.data() : dz.data();
  cuda::head_tail_backward(dz.data(), to_y, partial.data(), douts.data(), z.data(), mean.data(), rstd.data(),
                           weight.data(), mask, rows, cols, nullptr);
  std::vector<double> factors, expected_z;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const bool keep = philox(mask.seed, mask.offset + i / 4)[i % 4] >= kernels::dropout_threshold(mask.p);
    factors.push_back(keep ? static_cast<double>(1.0f / (1.0f - mask.p)) : 0.0);
    expected_z.push_back(static_cast<double>(static_cast<float>(y[i])) * factors[i] +
                         static_cast<double>(static_cast<float>(h[i])));
  }
  CHECK(worst_error(z.read(), expected_z) <= rounding<T>);
  const Expected e =
      tail(widened(z.read()), widened(d), widened(w), widened(b), factors, static_cast<std::size_t>(rows));
  const double close = cols == 1 ? 1e-3 : 2 * rounding<T>;  // the variance of one number is 0
  CHECK(worst_error(out.read(), e.out) <= close);
  CHECK(worst_error(dz.read(), e.dz) <= close);
  if (mask.p > 0) CHECK(worst_error(dy.read(), e.dy) <= close);
  CHECK(worst_error(total(partial.read(), static_cast<std::size_t>(3 * cols)), e.sums) <= (cols == 1 ? 1e-3 : 1e-5));
}

}  // namespace

TEST_CASE("CUDA projection head's tail", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_rows([]<class T>(std::int64_t rows, std::int64_t cols, std::int64_t shift) {
    if (rows * cols == 0) return;
    for (const float p : {0.0f, 0.3f}) {
      INFO("dropout " << p);
      check_tail<T>(rows, cols, shift, {.p = p, .seed = 7, .offset = 0xfffffffdu});
    }
  });
}

TEST_CASE("CUDA projection head's GELU, backward", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_rows([]<class T>(std::int64_t rows, std::int64_t cols, std::int64_t shift) {
    const std::int64_t n = rows * cols;
    if (n == 0) return;
    const auto d = random_values<T>(n, -1, 1, 1), g = random_values<T>(n, -1, 1, 2), x = random_values<T>(n, -4, 4, 3);
    DeviceArray<T> dh(d, shift), dg(g, shift), h(x, shift);
    DeviceArray<float> partial(cuda::head_blocks(rows) * cols);
    cuda::head_gelu_backward(dh.data(), partial.data(), dg.data(), h.data(), rows, cols, nullptr);
    const std::vector<double> ds = widened(d), gs = widened(g), xs = widened(x);
    std::vector<double> expected, sums(static_cast<std::size_t>(cols));
    for (std::size_t i = 0; i < xs.size(); ++i) {
      constexpr double step = 1e-5;
      const double slope = (reference_activation(Activation::gelu, xs[i] + step) -
                            reference_activation(Activation::gelu, xs[i] - step)) /
                           (2 * step);
      expected.push_back(ds[i] + gs[i] * slope);
      sums[i % sums.size()] += expected.back();
    }
    CHECK(worst_error(dh.read(), expected) <= rounding<T>);
    CHECK(worst_error(total(partial.read(), sums.size()), sums) <= 1e-5);
  });
}
