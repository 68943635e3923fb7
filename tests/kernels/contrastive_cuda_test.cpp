#include "kernels/contrastive.hpp"

#include <memory>

#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

using Values = std::vector<double>;

struct Losses {
  double loss = 0, scale = 0, bias = 0;
  Values text, image;
};

/// The losses as one would write them down, with whole matrices, in double.
struct Naive {
  std::size_t n, d;
  Values t, v;

  double dot(const Values& a, std::size_t i, const Values& b, std::size_t j) const {
    double sum = 0;
    for (std::size_t k = 0; k < d; ++k) sum += a[i * d + k] * b[j * d + k];
    return sum;
  }
  /// Gradients of text and image from those of T V^T.
  Losses with_gradients(Losses e, const Values& slopes) const {
    e.text.resize(n * d);
    e.image.resize(n * d);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t k = 0; k < d; ++k) {
          e.text[i * d + k] += slopes[i * n + j] * v[j * d + k];
          e.image[j * d + k] += slopes[i * n + j] * t[i * d + k];
        }
    return e;
  }
  Values log_softmax(const Values& s, bool of_columns) const {
    Values y(n * n);
    for (std::size_t i = 0; i < n; ++i) {
      const auto at = [&](std::size_t j) { return of_columns ? j * n + i : i * n + j; };
      double top = -HUGE_VAL, sum = 0;
      for (std::size_t j = 0; j < n; ++j) top = std::max(top, s[at(j)]);
      for (std::size_t j = 0; j < n; ++j) sum += std::exp(s[at(j)] - top);
      for (std::size_t j = 0; j < n; ++j) y[at(j)] = s[at(j)] - top - std::log(sum);
    }
    return y;
  }
  /// The mean cross-entropy of rows and columns of s with targets p; its gradients with respect to both.
  double cross_entropy(const Values& s, const Values& p, Values& ds, Values& dp) const {
    const Values rows = log_softmax(s, false), cols = log_softmax(s, true);
    const double mean = 1 / (2 * static_cast<double>(n));
    double loss = 0;
    Values in_col(n);
    for (std::size_t k = 0; k < n * n; ++k) in_col[k % n] += p[k];
    for (std::size_t i = 0; i < n; ++i) {
      double in_row = 0;
      for (std::size_t j = 0; j < n; ++j) in_row += p[i * n + j];
      for (std::size_t j = 0; j < n; ++j) {
        const std::size_t k = i * n + j;
        loss -= p[k] * (rows[k] + cols[k]) * mean;
        dp.push_back(-(rows[k] + cols[k]) * mean);
        ds.push_back((std::exp(rows[k]) * in_row + std::exp(cols[k]) * in_col[j] - 2 * p[k]) * mean);
      }
    }
    return loss;
  }

  Losses soft_targets(double tau, bool detached) const {
    Values s, a, p, ds, dp;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        s.push_back(dot(t, i, v, j) / tau);
        a.push_back(tau * (dot(v, i, v, j) + dot(t, i, t, j)) / 2);
      }
    for (const double log_p : log_softmax(a, false)) p.push_back(std::exp(log_p));
    Losses e;
    e.loss = cross_entropy(s, p, ds, dp);
    for (std::size_t k = 0; k < n * n; ++k) e.scale -= ds[k] * s[k] / tau;
    for (double& slope : ds) slope /= tau;
    e = with_gradients(e, ds);
    if (detached) return e;
    for (std::size_t i = 0; i < n; ++i) {
      double mean = 0;
      for (std::size_t j = 0; j < n; ++j) mean += p[i * n + j] * dp[i * n + j];
      for (std::size_t j = 0; j < n; ++j) {
        const double h = p[i * n + j] * (dp[i * n + j] - mean);
        e.scale += h * a[i * n + j] / tau;
        for (std::size_t k = 0; k < d; ++k) {
          e.text[i * d + k] += tau / 2 * h * t[j * d + k];
          e.text[j * d + k] += tau / 2 * h * t[i * d + k];
          e.image[i * d + k] += tau / 2 * h * v[j * d + k];
          e.image[j * d + k] += tau / 2 * h * v[i * d + k];
        }
      }
    }
    return e;
  }

  Losses info_nce(double scale, const std::vector<std::int32_t>& ids, const std::vector<float>& share) const {
    Values s, p, ds, dp;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        s.push_back(scale * dot(t, i, v, j));
        p.push_back(ids[i] == ids[j] ? static_cast<double>(share[i]) : 0);
      }
    Losses e;
    e.loss = cross_entropy(s, p, ds, dp);
    for (std::size_t k = 0; k < n * n; ++k) e.scale += ds[k] * s[k];
    for (double& slope : ds) slope *= scale;
    return with_gradients(e, ds);
  }

  Losses siglip(double scale, double bias, const std::vector<std::int32_t>& ids) const {
    const auto count = static_cast<double>(n);
    Losses e;
    Values slopes;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        const double product = dot(t, i, v, j), sign = ids[i] == ids[j] ? 1 : -1;
        const double margin = sign * (scale * product + bias);
        e.loss += std::log1p(std::exp(-margin)) / count;
        const double slope = -sign / (1 + std::exp(margin)) / count;
        e.scale += slope * scale * product;
        e.bias += slope;
        slopes.push_back(slope * scale);
      }
    return with_gradients(e, slopes);
  }
};

/// Largest error against the largest number.
double relative_error(const std::vector<float>& a, const Values& b) {
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < b.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst == worst ? worst / largest : HUGE_VAL;
}

/// Runs a loss as `f(loss, gradients, text, image, ids, share, scratch)` on n pairs, compares, and runs it again.
class Pairs {
 public:
  Pairs(std::int64_t n, std::int64_t d, double size, std::int64_t shift)
      : n_(n),
        d_(d),
        t_(random_values<float>(n * d, -size, size, 1)),
        v_(random_values<float>(n * d, -size, size, 2)),
        text_(t_, shift),
        image_(v_, shift),
        dtext_(n * d, shift),
        dimage_(n * d, shift),
        loss_(1),
        scale_(1),
        bias_(1),
        scratch_(cuda::contrastive_scratch(n)) {
    for (std::int64_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(i % 7 < 2 ? 0 : i));  // some agree
    for (const std::int32_t id : ids)
      share.push_back(1.0f / static_cast<float>(std::count(ids.begin(), ids.end(), id)));
    device_ids = std::make_unique<DeviceArray<std::int32_t>>(ids);
    device_share = std::make_unique<DeviceArray<float>>(share);
  }
  Naive naive() const { return {static_cast<std::size_t>(n_), static_cast<std::size_t>(d_), widened(t_), widened(v_)}; }

  template <class F>
  void check_loss(const F& run, const Losses& e, bool has_bias, double tolerance) {
    run(loss_.data(), kernels::ContrastiveGradients{}, text_.data(), image_.data(), scratch_.data());
    const std::vector<float> alone = loss_.read();
    const kernels::ContrastiveGradients gradients{dtext_.data(), dimage_.data(), scale_.data(), bias_.data()};
    run(loss_.data(), gradients, text_.data(), image_.data(), scratch_.data());
    CHECK(same_bits(alone, loss_.read()));
    CHECK(relative_error(loss_.read(), {e.loss}) <= tolerance);
    CHECK(worst_error(scale_.read(), {e.scale}) <= tolerance);
    if (has_bias) CHECK(worst_error(bias_.read(), {e.bias}) <= tolerance);
    CHECK(relative_error(dtext_.read(), e.text) <= tolerance);
    CHECK(relative_error(dimage_.read(), e.image) <= tolerance);
    const auto before = dtext_.read(), before_image = dimage_.read();
    run(loss_.data(), gradients, text_.data(), image_.data(), scratch_.data());
    CHECK(same_bits(dtext_.read(), before));
    CHECK(same_bits(dimage_.read(), before_image));
  }

  std::vector<std::int32_t> ids;
  std::vector<float> share;
  std::unique_ptr<DeviceArray<std::int32_t>> device_ids;
  std::unique_ptr<DeviceArray<float>> device_share;

 private:
  std::int64_t n_, d_;
  std::vector<float> t_, v_;
  DeviceArray<float> text_, image_, dtext_, dimage_, loss_, scale_, bias_, scratch_;
};

struct Case {
  std::int64_t n, d, shift;
};
const Case cases[] = {{1, 1, 0}, {2, 3, 0}, {63, 16, 0}, {64, 20, 1}, {65, 68, 0}, {130, 70, 0}};

}  // namespace

TEST_CASE("CUDA info_nce", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const Case& c : cases) {
    INFO(c.n << " pairs of " << c.d << " dimensions");
    Pairs pairs(c.n, c.d, 1, c.shift);
    pairs.check_loss(
        [&](float* loss, const kernels::ContrastiveGradients& gradients, const float* t, const float* v,
            float* scratch) {
          cuda::info_nce(loss, gradients, t, v, 2.5f, pairs.device_ids->data(), pairs.device_share->data(), c.n, c.d,
                         scratch, nullptr);
        },
        pairs.naive().info_nce(2.5, pairs.ids, pairs.share), false, 2e-5);
  }
}

TEST_CASE("CUDA info_nce of more pairs than a block of threads adds up at once", "[kernels][cuda]") {
  if (!have_device()) return;
  constexpr std::int64_t n = 1100, d = 2;
  Pairs pairs(n, d, 1, 0);
  const Losses e = pairs.naive().info_nce(1, pairs.ids, pairs.share);
  DeviceArray<float> text(random_values<float>(n * d, -1, 1, 1)), image(random_values<float>(n * d, -1, 1, 2)), loss(1);
  DeviceArray<float> scratch(cuda::contrastive_scratch(n));
  cuda::info_nce(loss.data(), {}, text.data(), image.data(), 1, pairs.device_ids->data(), pairs.device_share->data(), n,
                 d, scratch.data(), nullptr);
  CHECK(relative_error(loss.read(), {e.loss}) <= 1e-5);
}

TEST_CASE("CUDA siglip_loss", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const Case& c : cases) {
    INFO(c.n << " pairs of " << c.d << " dimensions");
    Pairs pairs(c.n, c.d, 1, c.shift);
    pairs.check_loss(
        [&](float* loss, const kernels::ContrastiveGradients& gradients, const float* t, const float* v,
            float* scratch) {
          cuda::siglip_loss(loss, gradients, t, v, 2.5f, -1.5f, pairs.device_ids->data(), c.n, c.d, scratch, nullptr);
        },
        pairs.naive().siglip(2.5, -1.5, pairs.ids), true, 2e-5);
  }
}

TEST_CASE("CUDA soft_target_loss", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const Case& c : cases)
    for (const bool detached : {true, false}) {
      const float tau = detached ? 0.5f : 2.0f;
      INFO(c.n << " pairs of " << c.d << " dimensions" << (detached ? ", detached" : ""));
      Pairs pairs(c.n, c.d, 0.5, c.shift);
      pairs.check_loss(
          [&](float* loss, const kernels::ContrastiveGradients& gradients, const float* t, const float* v,
              float* scratch) {
            cuda::soft_target_loss(loss, gradients, t, v, tau, detached, c.n, c.d, scratch, nullptr);
          },
          pairs.naive().soft_targets(static_cast<double>(tau), detached), false, 2e-5);
    }
}

TEST_CASE("CUDA soft_target_loss of logits in the hundreds", "[kernels][cuda]") {
  if (!have_device()) return;
  Pairs pairs(66, 256, 1.7, 0);  // as LayerNorm's rows are: |x|^2 = 256
  pairs.check_loss(
      [&](float* loss, const kernels::ContrastiveGradients& gradients, const float* t, const float* v, float* scratch) {
        cuda::soft_target_loss(loss, gradients, t, v, 1, false, 66, 256, scratch, nullptr);
      },
      pairs.naive().soft_targets(1, false), false, 2e-4);
}
