#include "kernels/contrastive.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <string_view>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "kernels/matmul.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

using Values = std::vector<double>;

/// Plans of matrix products that live as long as the test.
class Plans {
 public:
  cuda::MatmulPlans& operator*() const { return *static_cast<cuda::MatmulPlans*>(owner_.get()); }

 private:
  std::shared_ptr<void> owner_ = cuda::make_matmul_plans(nullptr);
};

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

  Losses info_nce(double scale, const std::vector<std::int32_t>& ids) const {
    Values s, p, ds, dp;
    for (std::size_t i = 0; i < n; ++i) {
      const double share = 1 / static_cast<double>(std::count(ids.begin(), ids.end(), ids[i]));
      for (std::size_t j = 0; j < n; ++j) {
        s.push_back(scale * dot(t, i, v, j));
        p.push_back(ids[i] == ids[j] ? share : 0);
      }
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

/// Whether kernels run on the host executor, where a case that takes it too long is left out; says so.
bool on_host_executor() {
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, 0);
  const bool host = std::string_view(properties.name).starts_with("host executor");
  if (host) std::cerr << "note: left out, because it takes the host executor too long\n";
  return host;
}

/// Largest error against the largest number.
double relative_error(const std::vector<float>& a, const Values& b) {
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < b.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return worst == worst ? worst / largest : HUGE_VAL;
}

/// Of gradients: slopes are rounded to T, and may cancel.
template <class T>
constexpr double gradient_tolerance = 4 * rounding<T>;

/// Some ids agree.
std::vector<std::int32_t> some_ids(std::int64_t n) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int32_t>(i % 7 < 2 ? 0 : i));
  return ids;
}
std::vector<std::int32_t> own_ids(std::int64_t n) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

/// n pairs of d dimensions, and room for what a loss leaves of them.
template <class T>
class Pairs {
 public:
  Pairs(std::int64_t n, const std::vector<T>& text, const std::vector<T>& image, std::int64_t shift = 0)
      : n_(n),
        d_(static_cast<std::int64_t>(text.size()) / n),
        t_(text),
        v_(image),
        text_(t_, shift),
        image_(v_, shift),
        dtext_(n * d_, shift),
        dimage_(n * d_, shift) {}
  Pairs(std::int64_t n, std::int64_t d, double size, std::int64_t shift = 0)
      : Pairs(n, random_values<T>(n * d, -size, size, 1), random_values<T>(n * d, -size, size, 2), shift) {}

  Naive naive() const { return {static_cast<std::size_t>(n_), static_cast<std::size_t>(d_), widened(t_), widened(v_)}; }

  // The losses, with gradients or alone, as their tests call them.
  void soft_targets(bool gradients, double tau, bool detached, cuda::PairRectangles sizes = {}) {
    DeviceArray<float> scratch(cuda::soft_target_scratch<T>(n_, gradients, detached, sizes)), number(one(tau));
    const auto run = [&](auto... more) {
      cuda::soft_target_loss(loss_.data(), outputs(gradients), text_.data(), image_.data(), number.data(), detached, n_,
                             d_, scratch.data(), *plans_, nullptr, more...);
    };
    if constexpr (sizeof(T) == 4)
      run();
    else
      run(sizes);
  }
  void info_nce(bool gradients, double log_scale, const std::vector<std::int32_t>* ids,
                cuda::PairRectangles sizes = {}) {
    DeviceArray<float> scratch(cuda::info_nce_scratch<T>(n_, gradients, sizes)), number(one(log_scale));
    DeviceArray<std::int32_t> id(ids == nullptr ? std::vector<std::int32_t>{} : *ids);
    const auto run = [&](auto... more) {
      cuda::info_nce(loss_.data(), outputs(gradients), text_.data(), image_.data(), number.data(), 4.6f,
                     ids == nullptr ? nullptr : id.data(), n_, d_, scratch.data(), *plans_, nullptr, more...);
    };
    if constexpr (sizeof(T) == 4)
      run();
    else
      run(sizes);
  }
  void siglip(bool gradients, double log_scale, double bias, const std::vector<std::int32_t>* ids,
              cuda::PairRectangles sizes = {}) {
    DeviceArray<float> scratch(cuda::siglip_scratch<T>(n_, gradients, sizes)), number(one(log_scale));
    DeviceArray<float> shift(one(bias));
    DeviceArray<std::int32_t> id(ids == nullptr ? std::vector<std::int32_t>{} : *ids);
    const auto run = [&](auto... more) {
      cuda::siglip_loss(loss_.data(), outputs(gradients), text_.data(), image_.data(), number.data(), shift.data(),
                        ids == nullptr ? nullptr : id.data(), n_, d_, scratch.data(), *plans_, nullptr, more...);
    };
    if constexpr (sizeof(T) == 4)
      run();
    else
      run(sizes);
  }

  float loss() const { return loss_.read()[0]; }
  /// What the last loss with gradients left.
  Losses left() const {
    return {loss(), scale_.read()[0], bias_.read()[0], widened(dtext_.read()), widened(dimage_.read())};
  }

  /// Whether a loss, as `run(gradients)`, is what is expected, alone too, and has the same bits when it is run again.
  template <class F>
  void check_loss(const F& run, const Losses& e, double tolerance = 2e-5) {
    run(false);
    const std::vector<float> alone = loss_.read();
    run(true);
    CHECK(same_bits(alone, loss_.read()));
    CHECK(worst_error(loss_.read(), {e.loss}) <= tolerance);
    CHECK(worst_error(scale_.read(), {e.scale}) <= 4 * tolerance);
    if (e.bias != 0) CHECK(worst_error(bias_.read(), {e.bias}) <= tolerance);
    const double of_gradients = gradient_tolerance<T> + tolerance;
    CHECK(relative_error(dtext_.read(), e.text) <= of_gradients);
    CHECK(relative_error(dimage_.read(), e.image) <= of_gradients);
    const std::vector first{dtext_.read(), dimage_.read(), scale_.read()};
    run(true);
    const std::vector again{dtext_.read(), dimage_.read(), scale_.read()};
    for (std::size_t i = 0; i < first.size(); ++i) CHECK(same_bits(first[i], again[i]));
  }

 private:
  static std::vector<float> one(double x) { return {static_cast<float>(x)}; }
  kernels::ContrastiveGradients outputs(bool gradients) {
    if (!gradients) return {};
    return {dtext_.data(), dimage_.data(), scale_.data(), bias_.data()};
  }

  std::int64_t n_, d_;
  std::vector<T> t_, v_;
  DeviceArray<T> text_, image_;
  DeviceArray<float> dtext_, dimage_, loss_{1}, scale_{1}, bias_{1};
  const Plans plans_;
};

struct Case {
  std::int64_t n, d, shift;
};
/// f(pairs, their number) for awkward sizes in each type; fewer where more would only run longer.
template <class F>
void for_each_case(double size, const F& f) {
  for_each_type([&]<class T>() {
    std::vector<Case> cases{{65, 256, 0}, {200, 72, 0}};
    if (dtype_of<T> == dtype::f32)
      cases = {{1, 1, 0}, {2, 3, 0}, {63, 16, 0}, {64, 20, 1}, {65, 68, 0}, {128, 260, 0}, {129, 20, 1}, {130, 70, 0}};
    if (dtype_of<T> == dtype::bf16)
      cases = {{1, 8, 0}, {2, 64, 0}, {63, 100, 0}, {64, 8, 0}, {65, 512, 0}, {127, 64, 1}, {128, 1, 0}, {129, 24, 0}};
    for (const Case& c : cases) {
      INFO(c.n << " pairs of " << c.d << " dimensions, shift " << c.shift);
      Pairs<T> pairs(c.n, c.d, size, c.shift);
      f(pairs, c.n);
    }
  });
}

}  // namespace

TEST_CASE("CUDA info_nce", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_case(1, [](auto& pairs, std::int64_t n) {
    const bool shared = n % 2 != 0;
    const std::vector<std::int32_t> ids = shared ? some_ids(n) : own_ids(n);
    pairs.check_loss([&](bool gradients) { pairs.info_nce(gradients, 0.9, shared ? &ids : nullptr); },
                     pairs.naive().info_nce(std::exp(0.9), ids));
  });
}

TEST_CASE("CUDA info_nce of more pairs than a block of threads adds up at once", "[kernels][cuda]") {
  if (!have_device()) return;
  const std::vector<std::int32_t> ids = some_ids(1100);
  Pairs<float> pairs(1100, 2, 1);
  pairs.info_nce(false, 0, &ids);
  CHECK(relative_error({pairs.loss()}, {pairs.naive().info_nce(1, ids).loss}) <= 1e-5);
}

TEST_CASE("CUDA siglip_loss", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_case(1, [](auto& pairs, std::int64_t n) {
    const bool shared = n % 2 != 0;
    const std::vector<std::int32_t> ids = shared ? some_ids(n) : own_ids(n);
    pairs.check_loss([&](bool gradients) { pairs.siglip(gradients, 0.9, -1.5, shared ? &ids : nullptr); },
                     pairs.naive().siglip(std::exp(0.9), -1.5, ids));
  });
}

TEST_CASE("CUDA soft_target_loss", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_case(0.5, [](auto& pairs, std::int64_t n) {
    const bool detached = n % 2 == 0;
    const double tau = detached ? 0.5 : 2.0, step = 1e-4;
    const Naive naive = pairs.naive();
    const Losses expected = naive.soft_targets(tau, detached);
    pairs.check_loss([&](bool gradients) { pairs.soft_targets(gradients, tau, detached); }, expected);
    if (detached || n > 100) return;
    const double above = naive.soft_targets(tau + step, false).loss, below = naive.soft_targets(tau - step, false).loss;
    CHECK(expected.scale == Approx((above - below) / (2 * step)).epsilon(1e-5).margin(1e-7));
  });
}

/// Whether losses of bf16 in rectangles are the row-owned ones of the same numbers in f32.
void check_rectangles(std::int64_t n, cuda::PairRectangles sizes) {
  constexpr std::int64_t d = 64;
  INFO(n << " pairs in rectangles of " << sizes.rows << " and " << sizes.wide);
  const auto text = random_values<bf16>(n * d, -0.5, 0.5, 1), image = random_values<bf16>(n * d, -0.5, 0.5, 2);
  const auto wide = [](const std::vector<bf16>& x) { return std::vector<float>(x.begin(), x.end()); };
  const std::vector<std::int32_t> ids = some_ids(n);
  Pairs<bf16> pairs(n, text, image);
  Pairs<float> oracle(n, wide(text), wide(image));
  const auto check = [&](const auto& loss) {
    loss(oracle);
    pairs.check_loss([&](bool gradients) { loss(pairs, gradients, sizes); }, oracle.left());
  };
  check([&](auto& of, bool gradients = true, auto... more) { of.info_nce(gradients, 1, &ids, more...); });
  check([&](auto& of, bool gradients = true, auto... more) { of.siglip(gradients, 1, -1, &ids, more...); });
  for (const bool detached : {true, false})
    check([&](auto& of, bool gradients = true, auto... more) { of.soft_targets(gradients, 1.5, detached, more...); });
}

TEST_CASE("CUDA contrastive losses in many rectangles", "[kernels][cuda]") {
  if (!have_device()) return;
  const std::vector<std::int32_t> ids = some_ids(101);
  constexpr cuda::PairRectangles sizes{35, 70};
  Pairs<bf16> pairs(101, 24, 0.6);
  const Naive naive = pairs.naive();
  pairs.check_loss([&](bool gradients) { pairs.info_nce(gradients, 1, &ids, sizes); },
                   naive.info_nce(std::exp(1), ids));
  pairs.check_loss([&](bool gradients) { pairs.siglip(gradients, 1, -1, &ids, sizes); },
                   naive.siglip(std::exp(1), -1, ids));
  for (const bool detached : {true, false})
    pairs.check_loss([&](bool gradients) { pairs.soft_targets(gradients, 1.5, detached, sizes); },
                     naive.soft_targets(1.5, detached));
}

TEST_CASE("CUDA contrastive losses in rectangles are the row-owned ones", "[kernels][cuda]") {
  if (!have_device()) return;
  check_rectangles(150, {64, 96});
}

TEST_CASE("CUDA contrastive losses in several rectangles of the sizes that models meet", "[kernels][cuda][large]") {
  if (!have_device() || on_host_executor()) return;
  check_rectangles(4097, {});
  check_rectangles(8300, {});
}

/// On the host executor: a GPU with so much shared memory for a block.
class SharedMemoryOf {
 public:
  explicit SharedMemoryOf(int bytes) { setenv("CLIP_HOST_CUDA_SHARED", std::to_string(bytes).c_str(), 1); }
  ~SharedMemoryOf() { unsetenv("CLIP_HOST_CUDA_SHARED"); }
  SharedMemoryOf(const SharedMemoryOf&) = delete;
  SharedMemoryOf& operator=(const SharedMemoryOf&) = delete;
};

TEST_CASE("CUDA contrastive losses of rows that pass through shared memory", "[kernels][cuda]") {
  if (!have_device()) return;
  const auto check = [](auto pairs, std::int64_t n, bool detached) {
    const std::vector<std::int32_t> ids = some_ids(n);
    const Naive naive = pairs.naive();
    pairs.check_loss([&](bool gradients) { pairs.info_nce(gradients, 1, &ids); }, naive.info_nce(std::exp(1), ids));
    pairs.check_loss([&](bool gradients) { pairs.siglip(gradients, 1, -1, &ids); }, naive.siglip(std::exp(1), -1, ids));
    pairs.check_loss([&](bool gradients) { pairs.soft_targets(gradients, 0.7, detached); },
                     naive.soft_targets(0.7, detached));
  };
  check(Pairs<bf16>(34, 632, 0.2), 34, false);
  check(Pairs<f16>(5, 2048, 0.1), 5, true);
  check(Pairs<bf16>(3, 1025, 0.2), 3, false);
  const SharedMemoryOf one_warp(48 * 1024);  // which is at work more than once
  check(Pairs<bf16>(140, 184, 0.3), 140, false);
}

TEST_CASE("CUDA contrastive losses where each of several warps takes more than one step", "[kernels][cuda]") {
  if (!have_device()) return;
  const auto soft_targets = [](auto pairs, bool detached) {
    pairs.check_loss([&](bool gradients) { pairs.soft_targets(gradients, 0.7, detached); },
                     pairs.naive().soft_targets(0.7, detached));
  };
  const auto info_nce = [](auto pairs, std::int64_t n) {
    const std::vector<std::int32_t> ids = some_ids(n);
    pairs.check_loss([&](bool gradients) { pairs.info_nce(gradients, 1, &ids); },
                     pairs.naive().info_nce(std::exp(1), ids));
  };
  soft_targets(Pairs<f16>(300, 24, 0.6), false);  // of eight
  const SharedMemoryOf two_warps(60 * 1024);
  soft_targets(Pairs<bf16>(70, 640, 0.2), false);  // rows pass
  info_nce(Pairs<bf16>(260, 136, 0.3), 260);
  info_nce(Pairs<f16>(290, 200, 0.3), 290);  // rows pass
}

TEST_CASE("CUDA contrastive losses of logits in the hundreds", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([&]<class T>() {
    constexpr std::int64_t d = 64;
    for (const std::int64_t n : {66, 130}) {
      if (n == 130 && sizeof(T) == 2) continue;  // f32 has other kernels for so many soft targets
      const std::vector<std::int32_t> ids = some_ids(n);
      const auto check = [&](const std::vector<T>& text, const std::vector<T>& image) {
        Pairs<T> pairs(n, text, image);
        pairs.check_loss([&](bool gradients) { pairs.soft_targets(gradients, 1, false); },
                         pairs.naive().soft_targets(1, false), 4e-4);
        pairs.check_loss([&](bool gradients) { pairs.info_nce(gradients, 0, &ids); }, pairs.naive().info_nce(1, ids),
                         4e-4);
      };
      const auto large = random_values<T>(n * d, -3.4, 3.4, 1);  // as LayerNorm's rows of 256 are: |x|^2 = 256
      std::vector<T> opposite = large, equal = large;
      for (T& x : opposite) x = T(-static_cast<float>(x));
      for (std::size_t i = 0; i < equal.size(); ++i) equal[i] = large[i % d];
      check(large, random_values<T>(n * d, -3.4, 3.4, 2));
      check(large, large);
      check(large, opposite);
      Pairs<T> same(n, equal, equal);  // gradients are 0, and what is left of 256 differences of 256
      for (const bool gradients : {false, true}) {
        same.soft_targets(gradients, 1, false);
        CHECK(relative_error({same.loss()}, {std::log(static_cast<double>(n))}) <= 4e-4);
      }
    }
  });
}

TEST_CASE("CUDA contrastive losses are NaN where a number makes no sense", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([&]<class T>() {
    Pairs<T> pairs(3, 8, 1);
    for (const double tau : {0.0, -1.0, std::nan("")}) {
      pairs.soft_targets(true, tau, false);
      CHECK(std::isnan(pairs.loss()));
    }
    for (const double log_scale : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
      pairs.info_nce(true, log_scale, nullptr);
      CHECK(std::isnan(pairs.loss()));
      pairs.siglip(true, log_scale, 0, nullptr);
      CHECK(std::isnan(pairs.loss()));
    }
  });
}

TEST_CASE("CUDA contrastive losses of rows that are not finite are not either", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([]<class T>() {
    for (const std::int64_t n : {3, 130})
      for (const float wrong : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
        INFO(n << " pairs with " << wrong);
        auto text = random_values<T>(n * 8, -1, 1, 1);
        text[9] = T(wrong);
        Pairs<T> pairs(n, text, random_values<T>(n * 8, -1, 1, 2));
        pairs.soft_targets(false, 1, false);
        CHECK(!std::isfinite(pairs.loss()));
        pairs.info_nce(false, 1, nullptr);
        CHECK(!std::isfinite(pairs.loss()));
        pairs.siglip(false, 1, -1, nullptr);
        CHECK((std::isinf(wrong) || std::isnan(pairs.loss())));  // infinite logits may be just right
      }
  });
}

TEST_CASE("CUDA info_nce keeps its scale at its limit", "[kernels][cuda]") {
  if (!have_device()) return;
  DeviceArray<float> y(1);
  const auto gradient = [&](float of_loss, float dloss, float log_scale) {
    DeviceArray<float> numbers(std::vector<float>{of_loss, dloss, log_scale});
    cuda::info_nce_scale_gradient(y.data(), numbers.data(), numbers.data() + 1, numbers.data() + 2, 4.6f, nullptr);
    return y.read()[0];
  };
  CHECK(gradient(-3, 2, 4) == -6);
  CHECK(gradient(-3, 2, 5) == 0);
  CHECK(gradient(-3, -2, 5) == 6);
  CHECK(gradient(3, 2, 5) == 6);
}

TEST_CASE("CUDA contrastive losses' gradients are scaled and rounded at once", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([]<class T>() {
    for (const std::int64_t n : {0, 1, 2051, 4096}) {
      const auto gradient = random_values<float>(n, -1, 1, 1);
      DeviceArray<float> from(gradient, n % 2), dloss(std::vector<float>{0.3f});
      DeviceArray<T> y(n, n % 2);
      cuda::scaled_gradient(y.data(), from.data(), dloss.data(), n, nullptr);
      std::vector<T> expected;
      for (const float x : gradient) expected.push_back(T(x * 0.3f));
      CHECK(same_bits(y.read(), expected));
    }
  });
}

TEST_CASE("CUDA contrastive losses leave gradients without a product in f32 beside them", "[kernels][cuda]") {
  if (!have_device()) return;
  constexpr std::int64_t n = 64, d = 1024, numbers = 2 * n * d;
  const Device device = Device::cuda();
  Random random(1);
  const auto side = [&] { return to(randn({n, d}, random, dtype::bf16), device).requires_grad(); };
  Tensor text = side(), image = side();
  const auto step = [&] {
    backward(soft_target_loss(text, image));
    text.set_grad({});
    image.set_grad({});
  };
  step();  // takes what is kept
  device.synchronize();
  cudaMemPool_t pool{};
  std::uint64_t none = 0, before = 0, most = 0;
  REQUIRE(cudaDeviceGetDefaultMemPool(&pool, 0) == cudaSuccess);
  cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &none);
  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &before);
  step();
  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &most);
  INFO(most - before << " bytes for " << numbers << " numbers");
  // 4 bytes of f32, 2 of bf16 made of it, and 1 for the first leaf's own half; less than another for all else
  CHECK(most - before < numbers * 8);
}
