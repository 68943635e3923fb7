#include "kernels/projection_head.hpp"

#include <array>

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
  const std::int64_t n = rows * cols, blocks = cuda::column_sum_blocks(rows);
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

/// a b^T + bias of a [rows, depth] and b [cols, depth].
std::vector<double> product(const std::vector<double>& a, const std::vector<double>& b, const std::vector<double>& bias,
                            std::size_t rows) {
  const std::size_t cols = bias.size(), depth = b.size() / cols;
  std::vector<double> y(rows * cols);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) {
      double sum = bias[c];
      for (std::size_t k = 0; k < depth; ++k) sum += a[r * depth + k] * b[c * depth + k];
      y[r * cols + c] = sum;
    }
  return y;
}

std::vector<double> transposed(const std::vector<double>& square, std::size_t size) {
  std::vector<double> t(square.size());
  for (std::size_t i = 0; i < square.size(); ++i) t[i % size * size + i / size] = square[i];
  return t;
}

/// Each stage from what the kernel has made of the one before: a rounding at a time.
template <class T>
void check_whole(std::int64_t rows, std::int64_t in, std::int64_t cols, const DropoutMask& mask) {
  const std::int64_t n = rows * cols, blocks = cuda::whole_head_blocks(rows, cols);
  const auto width = static_cast<std::size_t>(cols), count = static_cast<std::size_t>(rows);
  const double w1_size = std::sqrt(3.0 / static_cast<double>(in)), w2_size = std::sqrt(3.0 / static_cast<double>(cols));
  const auto x = random_values<T>(rows * in, -1, 1, 1), w1 = random_values<T>(cols * in, -w1_size, w1_size, 2);
  const auto b1 = random_values<T>(cols, -1, 1, 3), w2 = random_values<T>(cols * cols, -w2_size, w2_size, 4);
  const auto b2 = random_values<T>(cols, -1, 1, 5), d = random_values<T>(n, -1, 1, 6);
  const auto w = random_values<float>(cols, 0.5, 1.5, 7), b = random_values<float>(cols, -1, 1, 8);
  DeviceArray<T> xs(x), w1s(w1), b1s(b1), w2s(w2), b2s(b2), douts(d), out(n), out_alone(n), hs(n), zs(n);
  DeviceArray<float> weight(w), bias(b), mean(rows), rstd(rows), tail_sums(blocks * 3 * cols), h_sums(blocks * cols);
  DeviceArray<T> dh(n), dy(n), activated(n);
  const kernels::cuda::HeadWeights<T> weights{w1s.data(), b1s.data(),    w2s.data(),
                                              b2s.data(), weight.data(), bias.data()};
  const auto small = static_cast<float>(eps);
  cuda::whole_head_forward(out.data(), hs.data(), zs.data(), mean.data(), rstd.data(), xs.data(), weights, small, mask,
                           rows, in, cols, nullptr);
  cuda::whole_head_forward<T>(out_alone.data(), out_alone.data(), nullptr, nullptr, nullptr, xs.data(), weights, small,
                              mask, rows, in, cols, nullptr);
  cuda::whole_head_backward(dh.data(), dy.data(), activated.data(), tail_sums.data(), h_sums.data(), douts.data(),
                            hs.data(), zs.data(), mean.data(), rstd.data(), weight.data(), w2s.data(), mask, rows, cols,
                            nullptr);

  const auto h = hs.read(), z = zs.read();
  CHECK(worst_error(h, product(widened(x), widened(w1), widened(b1), count)) <= rounding<T>);
  std::vector<T> gelu;
  for (const double v : widened(h)) gelu.push_back(T(static_cast<float>(reference_activation(Activation::gelu, v))));
  std::vector<double> factors, expected_z = product(widened(gelu), widened(w2), widened(b2), count);
  for (std::size_t i = 0; i < expected_z.size(); ++i) {
    const bool keep = philox(mask.seed, mask.offset + i / 4)[i % 4] >= kernels::dropout_threshold(mask.p);
    factors.push_back(keep ? static_cast<double>(1.0f / (1.0f - mask.p)) : 0.0);
    expected_z[i] = expected_z[i] * factors[i] + static_cast<double>(static_cast<float>(h[i]));
  }
  CHECK(worst_error(z, expected_z) <= 4 * rounding<T>);
  const Expected e = tail(widened(z), widened(d), widened(w), widened(b), factors, count);
  CHECK(worst_error(out.read(), e.out) <= 2 * rounding<T>);
  CHECK(same_bits(out_alone.read(), out.read()));

  CHECK(worst_error(dy.read(), e.dy) <= 2 * rounding<T>);
  CHECK(worst_error(total(tail_sums.read(), 3 * width), e.sums) <= 2e-5);
  CHECK(worst_error(activated.read(), widened(gelu)) <= 2 * rounding<T>);
  const std::vector<double> dg =
      product(widened(dy.read()), transposed(widened(w2), width), std::vector<double>(width), count);
  std::vector<double> dh_expected, sums(width);
  for (std::size_t i = 0; i < dg.size(); ++i) {
    constexpr double step = 1e-5;
    const auto x_of_gelu = static_cast<double>(static_cast<float>(h[i]));
    const double slope = (reference_activation(Activation::gelu, x_of_gelu + step) -
                          reference_activation(Activation::gelu, x_of_gelu - step)) /
                         (2 * step);
    dh_expected.push_back(e.dz[i] + dg[i] * slope);
    sums[i % width] += dh_expected.back();
  }
  CHECK(worst_error(dh.read(), dh_expected) <= 4 * rounding<T>);
  CHECK(worst_error(total(h_sums.read(), width), sums) <= 2 * rounding<T> * std::sqrt(static_cast<double>(rows)));
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
    DeviceArray<float> partial(cuda::column_sum_blocks(rows) * cols);
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

TEST_CASE("CUDA projection head's sums over blocks", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([]<class T>() {
    for (const std::int64_t blocks : {0, 1, 7, 8, 33})
      for (const std::int64_t cols : {1, 9, 32, 70}) {
        INFO(name_of(dtype_of<T>) << ", " << blocks << " blocks of " << cols << " columns");
        const auto of_tail = random_values<float>(blocks * 3 * cols, -1, 1, 1);
        const auto of_h = random_values<float>(blocks * cols, -1, 1, 2);
        DeviceArray<float> tail_partial(of_tail), h_partial(of_h), norm(cols), norm_bias(cols);
        DeviceArray<T> fc_bias(cols), projection_bias(cols);
        cuda::head_totals<T>({norm.data(), norm_bias.data(), fc_bias.data(), projection_bias.data()},
                             tail_partial.data(), h_partial.data(), blocks, cols, nullptr);
        const auto width = static_cast<std::size_t>(cols);
        const std::vector<double> tail = widened(total(of_tail, 3 * width)), h = widened(total(of_h, width));
        const auto expected = [&](std::ptrdiff_t which) {
          return std::vector<double>(tail.begin() + which * cols, tail.begin() + (which + 1) * cols);
        };
        CHECK(worst_error(norm.read(), expected(0)) <= 1e-5);
        CHECK(worst_error(norm_bias.read(), expected(1)) <= 1e-5);
        CHECK(worst_error(fc_bias.read(), expected(2)) <= rounding<T> + 1e-5);
        CHECK(worst_error(projection_bias.read(), h) <= rounding<T> + 1e-5);
      }
  });
}

TEST_CASE("CUDA projection heads as one kernel", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t rows, in, cols;
    float dropout;
  };
  // Parts of a block and more than one; no chunk of the depth, parts of one, many.
  const auto check_all = []<class T>(const std::vector<Case>& cases) {
    for (const Case& c : cases) {
      INFO(name_of(dtype_of<T>) << " [" << c.rows << ", " << c.in << "] to " << c.cols << ", dropout " << c.dropout);
      check_whole<T>(c.rows, c.in, c.cols, {.p = c.dropout, .seed = 7, .offset = 0xfffffffdu});
    }
  };
  check_all.operator()<bf16>({{0, 8, 8, 0},
                              {1, 768, 256, 0},
                              {2, 0, 64, 0.3f},
                              {17, 104, 512, 0.3f},
                              {33, 2048, 8, 0},
                              {63, 72, 264, 0},
                              {64, 64, 64, 0},
                              {65, 40, 72, 1},
                              {127, 8, 256, 0.3f},
                              {1000, 16, 8, 0.3f}});
  check_all.operator()<f16>({{65, 72, 256, 0}, {33, 40, 512, 0.3f}});
}

TEST_CASE("tall blocks of a CUDA projection head leave what low ones leave", "[kernels][cuda]") {
  if (!have_device()) return;
  constexpr std::int64_t in = 40, part = 33;
  for (const std::int64_t cols : {40, 264}) {
    INFO(cols << " columns");
    const std::int64_t rows = (cols <= 256 ? 40 * 128 : 40 * 64) + 1;
    DeviceArray<bf16> x(random_values<bf16>(rows * in, -1, 1, 1)), w1(random_values<bf16>(cols * in, -0.2, 0.2, 2));
    DeviceArray<bf16> b1(random_values<bf16>(cols, -1, 1, 3)), w2(random_values<bf16>(cols * cols, -0.2, 0.2, 4));
    DeviceArray<bf16> b2(random_values<bf16>(cols, -1, 1, 5));
    DeviceArray<float> norm(random_values<float>(cols, 0.5, 1.5, 6)), norm_bias(random_values<float>(cols, -1, 1, 7));
    const cuda::HeadWeights<bf16> weights{w1.data(), b1.data(), w2.data(), b2.data(), norm.data(), norm_bias.data()};
    /// out, h, z, and mean and rstd of some rows.
    const auto values = [&](std::int64_t first, std::int64_t count) {
      DeviceArray<bf16> out(count * cols), h(count * cols), z(count * cols);
      DeviceArray<float> mean(count), rstd(count);
      const auto offset = static_cast<std::uint64_t>(first * cols / 4);
      cuda::whole_head_forward(out.data(), h.data(), z.data(), mean.data(), rstd.data(), x.data() + first * in, weights,
                               1e-5f, {.p = 0.3f, .seed = 7, .offset = offset}, count, in, cols, nullptr);
      return std::array{widened(out.read()), widened(h.read()), widened(z.read()), widened(mean.read()),
                        widened(rstd.read())};
    };
    const auto all = values(0, rows);
    for (const std::int64_t first : {std::int64_t{0}, rows / 2, rows - part}) {
      const auto some = values(first, part);
      for (std::size_t i = 0; i < all.size(); ++i) {
        const auto size = static_cast<std::ptrdiff_t>(some[i].size());
        const auto at = all[i].begin() + size / part * first;
        CHECK(std::equal(at, at + size, some[i].begin()));
        CHECK(std::ranges::all_of(all[i], [](double v) { return std::isfinite(v); }));
      }
    }
  }
}

TEST_CASE("heads that are not one kernel", "[kernels][cuda]") {
  const auto fits = [](dtype type, std::int64_t in, std::int64_t out, std::uintptr_t address = 0x1000) {
    return cuda::whole_head_fits(type, in, out, {reinterpret_cast<const void*>(address)});
  };
  CHECK(fits(dtype::bf16, 768, 512));
  CHECK(fits(dtype::f16, 8, 8));
  CHECK_FALSE(fits(dtype::f32, 768, 512));
  CHECK_FALSE(fits(dtype::bf16, 100, 512));
  CHECK_FALSE(fits(dtype::bf16, 768, 520));
  CHECK_FALSE(fits(dtype::bf16, 768, 100));
  CHECK_FALSE(fits(dtype::bf16, 768, 0));
  CHECK_FALSE(fits(dtype::bf16, 768, 512, 0x1002));
}
