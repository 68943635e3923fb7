#include "clip/ops/contrastive_loss.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// A loss and its gradients.
template <class Real>
struct Losses {
  Real loss = 0, scale = 0, bias = 0;
  std::vector<Real> text, image;
};

/// The losses as one would write them down, with whole matrices, in double or, to see what f32 costs, in float.
template <class Real>
class Naive {
 public:
  Naive(const Array& t, const Array& v)
      : n(static_cast<std::size_t>(t.shape[0])),
        d(static_cast<std::size_t>(t.shape[1])),
        text(t.values.begin(), t.values.end()),
        image(v.values.begin(), v.values.end()) {}

  Losses<Real> soft_targets(Real tau, bool detached) const {
    Matrix s = product(text, image), a = product(image, image);
    const Matrix texts = product(text, text);
    for (std::size_t k = 0; k < n * n; ++k) s[k] /= tau, a[k] = tau * (a[k] + texts[k]) / 2;
    const Matrix log_p = log_softmax(a, false);
    Matrix p(n * n), da(n * n);
    for (std::size_t k = 0; k < n * n; ++k) p[k] = std::exp(log_p[k]);
    auto [result, ds, dp] = cross_entropy(s, p);
    result.scale = 0;
    for (std::size_t k = 0; k < n * n; ++k) result.scale -= ds[k] * s[k] / tau;
    gradients(result, ds, 1 / tau);
    if (detached) return result;
    for (std::size_t i = 0; i < n; ++i) {
      Real mean = 0;
      for (std::size_t j = 0; j < n; ++j) mean += p[i * n + j] * dp[i * n + j];
      for (std::size_t j = 0; j < n; ++j) da[i * n + j] = p[i * n + j] * (dp[i * n + j] - mean);
    }
    for (std::size_t k = 0; k < n * n; ++k) result.scale += da[k] * a[k] / tau;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        const Real m = (da[i * n + j] + da[j * n + i]) * tau / 2;
        for (std::size_t k = 0; k < d; ++k) {
          result.text[i * d + k] += m * text[j * d + k];
          result.image[i * d + k] += m * image[j * d + k];
        }
      }
    return result;
  }

  Losses<Real> info_nce(Real log_scale, const std::vector<int>& ids) const {
    Matrix s = product(text, image), p(n * n);
    const Real scale = std::exp(log_scale);
    for (Real& x : s) x *= scale;
    for (std::size_t i = 0; i < n; ++i) {
      const auto count = static_cast<Real>(std::count(ids.begin(), ids.end(), ids[i]));
      for (std::size_t j = 0; j < n; ++j) p[i * n + j] = ids[i] == ids[j] ? 1 / count : 0;
    }
    auto [result, ds, dp] = cross_entropy(s, p);
    for (std::size_t k = 0; k < n * n; ++k) result.scale += ds[k] * s[k];
    gradients(result, ds, scale);
    return result;
  }

  Losses<Real> siglip(Real log_scale, Real bias, const std::vector<int>& ids) const {
    Matrix s = product(text, image), ds(n * n);
    const Real scale = std::exp(log_scale);
    Losses<Real> result;
    for (std::size_t k = 0; k < n * n; ++k) {
      const Real z = ids[k / n] == ids[k % n] ? 1 : -1, w = -z * (scale * s[k] + bias);
      result.loss += (std::max(w, Real(0)) + std::log1p(std::exp(-std::abs(w)))) / static_cast<Real>(n);
      ds[k] = -z / (1 + std::exp(-w)) / static_cast<Real>(n);
      result.scale += ds[k] * scale * s[k];
      result.bias += ds[k];
    }
    gradients(result, ds, scale);
    return result;
  }

 private:
  using Matrix = std::vector<Real>;

  Matrix product(const Matrix& a, const Matrix& b) const {
    Matrix y(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        Real sum = 0;
        for (std::size_t k = 0; k < d; ++k) sum += a[i * d + k] * b[j * d + k];
        y[i * n + j] = sum;
      }
    return y;
  }

  Matrix log_softmax(const Matrix& x, bool columns) const {
    Matrix y(n * n);
    const std::size_t along = columns ? n : 1, across = columns ? 1 : n;
    for (std::size_t i = 0; i < n; ++i) {
      Real top = -HUGE_VALF, sum = 0;
      for (std::size_t j = 0; j < n; ++j) top = std::max(top, x[i * across + j * along]);
      for (std::size_t j = 0; j < n; ++j) sum += std::exp(x[i * across + j * along] - top);
      for (std::size_t j = 0; j < n; ++j) y[i * across + j * along] = x[i * across + j * along] - top - std::log(sum);
    }
    return y;
  }

  struct CrossEntropy {
    Losses<Real> result;
    Matrix ds, dp;
  };
  /// Mean over i of (CE(s[i, :], p[i, :]) + CE(s[:, i], p[:, i])) / 2.
  CrossEntropy cross_entropy(const Matrix& s, const Matrix& p) const {
    const Matrix rows = log_softmax(s, false), columns = log_softmax(s, true);
    CrossEntropy y{{}, Matrix(n * n), Matrix(n * n)};
    const Real scale = Real(0.5) / static_cast<Real>(n);
    std::vector<Real> row_sum(n), column_sum(n);
    for (std::size_t k = 0; k < n * n; ++k) {
      y.dp[k] = -scale * (rows[k] + columns[k]);
      y.result.loss += p[k] * y.dp[k];
      row_sum[k / n] += p[k];
      column_sum[k % n] += p[k];
    }
    for (std::size_t k = 0; k < n * n; ++k)
      y.ds[k] = scale * (row_sum[k / n] * std::exp(rows[k]) + column_sum[k % n] * std::exp(columns[k]) - 2 * p[k]);
    return y;
  }

  void gradients(Losses<Real>& result, const Matrix& ds, Real scale) const {
    result.text.assign(n * d, 0);
    result.image.assign(n * d, 0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t k = 0; k < d; ++k) {
          result.text[i * d + k] += scale * ds[i * n + j] * image[j * d + k];
          result.image[j * d + k] += scale * ds[i * n + j] * text[i * d + k];
        }
  }

  std::size_t n, d;
  Matrix text, image;
};

/// Largest difference over largest reference.
template <class Real>
double error(const std::vector<Real>& x, const std::vector<double>& y) {
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double difference = std::abs(static_cast<double>(x[i]) - y[i]);
    worst = std::isfinite(difference) ? std::max(worst, difference) : HUGE_VAL;
    largest = std::max(largest, std::abs(y[i]));
  }
  return worst / largest;
}
template <class Real>
double error(Real x, double y) {
  return error(std::vector<Real>{x}, {y});
}

/// Runs an op forward and backward. `scale` and `bias` are its learnt numbers.
using Run = std::function<Tensor(const Tensor& text, const Tensor& image, const Tensor& scale, const Tensor& bias)>;
Losses<float> run(const Run& op, const Array& text, const Array& image, double scale, double bias = 0) {
  const Tensor t = to_tensor(text).requires_grad(), v = to_tensor(image).requires_grad();
  const Tensor s = Tensor::of(scale).requires_grad(), b = Tensor::of({bias}).requires_grad();
  const Tensor loss = op(t, v, s, b);
  CHECK(loss.shape() == Shape{});
  CHECK(loss.dtype() == dtype::f32);
  backward(loss);
  return {loss.item(), s.grad().item(), b.grad().defined() ? b.grad().item() : 0, t.grad().to_vector(),
          v.grad().to_vector()};
}

/// As exact as the same computation done plainly in f32, twice over.
void check_losses(const Losses<float>& result, const Losses<double>& expected, const Losses<float>& plain) {
  CHECK(std::abs(static_cast<double>(result.loss) - expected.loss) <=
        2 * std::abs(static_cast<double>(plain.loss) - expected.loss) + 1e-6 * (1 + std::abs(expected.loss)));
  CHECK(error(result.text, expected.text) <= 2 * error(plain.text, expected.text) + 2e-6);
  CHECK(error(result.image, expected.image) <= 2 * error(plain.image, expected.image) + 2e-6);
  double largest = 0;  // the scale's gradient is a sum of terms of this size
  for (const double g : expected.text) largest += std::abs(g);
  CHECK(std::abs(static_cast<double>(result.scale) - expected.scale) <=
        2 * std::abs(static_cast<double>(plain.scale) - expected.scale) + 2e-6 * (1 + largest));
  CHECK(std::abs(static_cast<double>(result.bias) - expected.bias) <=
        2 * std::abs(static_cast<double>(plain.bias) - expected.bias) + 2e-6);
}

void check_soft_targets(const Array& text, const Array& image, double tau) {
  for (const bool detached : {false, true}) {
    INFO("text " << text.shape << ", temperature " << tau << ", targets detached: " << detached);
    check_losses(
        run([&](auto& t, auto& v, auto& s, auto&) { return soft_target_loss(t, v, s, detached); }, text, image, tau),
        Naive<double>(text, image).soft_targets(tau, detached),
        Naive<float>(text, image).soft_targets(static_cast<float>(tau), detached));
  }
}

/// Rows as LayerNorm leaves them, times `length` / sqrt(D): every one of that length.
Array rows_of_length(const Shape& shape, double length, std::uint64_t salt) {
  Array x = random_array(shape, -1, 1, salt);
  for (std::int64_t r = 0; r < shape[0]; ++r) {
    double squares = 0;
    for (std::int64_t c = 0; c < shape[1]; ++c) squares += x[r * shape[1] + c] * x[r * shape[1] + c];
    for (std::int64_t c = 0; c < shape[1]; ++c)
      x[r * shape[1] + c] = static_cast<float>(x[r * shape[1] + c] * length / std::sqrt(squares));
  }
  return x;
}

std::vector<int> some_ids(std::int64_t n) {  // groups of one to three
  std::vector<int> ids;
  for (int i = 0; i < n; ++i) ids.push_back(1000 - i % (static_cast<int>(n + 1) / 2));
  return ids;
}
std::vector<int> own_ids(std::int64_t n) {
  std::vector<int> ids;
  for (int i = 0; i < n; ++i) ids.push_back(i);
  return ids;
}

}  // namespace

TEST_CASE("the naive losses' gradients are the differences of their values", "[ops]") {
  const Array text = rows_of_length({7, 5}, 1.5, 1), image = rows_of_length({7, 5}, 1.5, 2);
  const std::vector<int> ids = some_ids(7);
  using F = std::function<Losses<double>(const Array&, const Array&, double, double)>;
  const std::vector<F> losses{
      [](auto& t, auto& v, double s, double) { return Naive<double>(t, v).soft_targets(s, false); },
      [&](auto& t, auto& v, double s, double) { return Naive<double>(t, v).info_nce(s, ids); },
      [&](auto& t, auto& v, double s, double b) { return Naive<double>(t, v).siglip(s, b, ids); }};
  for (const F& f : losses) {
    const double step = 1e-5;
    const Losses<double> at = f(text, image, 0.8, -0.3);
    const auto difference = [&](std::int64_t i, bool of_text) {
      Array above = of_text ? text : image, below = above;
      above[i] += step;
      below[i] -= step;
      return ((of_text ? f(above, image, 0.8, -0.3) : f(text, above, 0.8, -0.3)).loss -
              (of_text ? f(below, image, 0.8, -0.3) : f(text, below, 0.8, -0.3)).loss) /
             (2 * step);
    };
    for (std::int64_t i = 0; i < 35; ++i) {
      CHECK(at.text[static_cast<std::size_t>(i)] == Approx(difference(i, true)).margin(1e-9));
      CHECK(at.image[static_cast<std::size_t>(i)] == Approx(difference(i, false)).margin(1e-9));
    }
    CHECK(at.scale ==
          Approx((f(text, image, 0.8 + step, -0.3).loss - f(text, image, 0.8 - step, -0.3).loss) / (2 * step))
              .margin(1e-9));
    CHECK(at.bias ==
          Approx((f(text, image, 0.8, -0.3 + step).loss - f(text, image, 0.8, -0.3 - step).loss) / (2 * step))
              .margin(1e-9));
  }
}

TEST_CASE("soft_target_loss and its gradients agree with whole matrices", "[ops]") {
  for (const std::int64_t n : {1, 2, 15, 63, 64, 65, 127})
    for (const std::int64_t d : {1, 17, 64})
      for (const double tau : {0.5, 2.0})
        check_soft_targets(rows_of_length({n, d}, 2, 1), rows_of_length({n, d}, 2, 2), tau);
  for (const std::int64_t d : {256, 512, 768})
    check_soft_targets(rows_of_length({33, d}, 3, 1), rows_of_length({33, d}, 3, 2), 1);
}

TEST_CASE("soft_target_loss is the same in several blocks of rows", "[ops]") {
  check_soft_targets(rows_of_length({1030, 16}, 2, 1), rows_of_length({1030, 16}, 2, 2), 0.8);
}

TEST_CASE("soft_target_loss leaves out blocks without targets, and those alone", "[ops]") {
  // A_ii is 144, the rest around 0
  Array text = rows_of_length({1030, 64}, 12, 1), image = rows_of_length({1030, 64}, 12, 2);
  check_soft_targets(text, image, 1);
  for (std::int64_t i = 0; i < 50 * 64; ++i) {  // the first and the last block have pairs that are nearly equal
    text[(1030 - 50) * 64 + i] = 0.99 * text[i];
    image[(1030 - 50) * 64 + i] = 0.97 * image[i];
  }
  check_soft_targets(text, image, 1);
}

TEST_CASE("soft_target_loss over many blocks", "[.slow]") {
  check_soft_targets(rows_of_length({4097, 64}, 3, 1), rows_of_length({4097, 64}, 3, 2), 1);
}

TEST_CASE("soft_target_loss holds for logits of 256 and for equal rows", "[ops]") {
  for (const std::int64_t n : {2, 65}) {
    check_soft_targets(rows_of_length({n, 64}, 16, 1), rows_of_length({n, 64}, 16, 2), 1);
    const Array large = rows_of_length({n, 64}, 16, 3);
    check_soft_targets(large, large, 1);  // +256 on the diagonal
    Array opposite = large;
    for (double& x : opposite.values) x = -x;
    check_soft_targets(large, opposite, 1);  // -256
    Array equal = large;
    for (std::int64_t i = 0; i < equal.shape.numel(); ++i) equal[i] = large[i % 64];
    const auto result =
        run([](auto& t, auto& v, auto& a, auto&) { return soft_target_loss(t, v, a); }, equal, equal, 1);
    CHECK(result.loss == Approx(std::log(static_cast<double>(n))).margin(1e-6));  // targets are 1 / n, gradients 0
    for (const float g : result.text) CHECK(std::abs(g) <= 1e-5f);
    for (const float g : result.image) CHECK(std::abs(g) <= 1e-5f);
  }
}

TEST_CASE("info_nce and siglip_loss agree with whole matrices, whatever pairs are positive", "[ops]") {
  for (const std::int64_t n : {1, 2, 15, 63, 64, 65, 127, 1030})
    for (const std::int64_t d : {1, 17, 64}) {
      if (n == 1030 && d != 17) continue;
      INFO("n " << n << ", d " << d);
      const Array text = rows_of_length({n, d}, 1, 1), image = rows_of_length({n, d}, 1, 2);
      for (const bool shared : {false, true}) {
        const std::vector<int> ids = shared ? some_ids(n) : own_ids(n);
        const Tensor given = shared ? Tensor::from(std::vector<std::int32_t>(ids.begin(), ids.end()), {n}) : Tensor();
        for (const double s : {0.0, 2.6593, 4.6}) {
          if (n == 1030 && s != 4.6) continue;
          check_losses(run([&](auto& t, auto& v, auto& a, auto&) { return info_nce(t, v, a, given); }, text, image, s),
                       Naive<double>(text, image).info_nce(s, ids),
                       Naive<float>(text, image).info_nce(static_cast<float>(s), ids));
          const double b = -10 + 3 * s;
          check_losses(run([&](auto& t, auto& v, auto& a, auto& c) { return siglip_loss(t, v, a, c, given); }, text,
                           image, s, b),
                       Naive<double>(text, image).siglip(s, b, ids),
                       Naive<float>(text, image).siglip(static_cast<float>(s), static_cast<float>(b), ids));
        }
      }
    }
}

TEST_CASE("siglip_loss keeps the digits of pairs that are nearly right", "[ops]") {
  const Tensor x = zeros({1, 2});  // one positive pair with the logit 12
  CHECK(siglip_loss(x, x, Tensor::of(0), Tensor::of(12)).item() == Approx(std::log1p(std::exp(-12.0))).epsilon(1e-5));
}

TEST_CASE("soft_target_loss of 131,072 pairs takes less than 2 GB", "[.slow]") {  // minutes
  constexpr std::int64_t n = 131'072;
  Random random(1);
  const Tensor text = randn({n, 256}, random).requires_grad(), image = randn({n, 256}, random).requires_grad();
  backward(soft_target_loss(text, image));
  CHECK(text.grad().shape() == Shape{n, 256});
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  CHECK(usage.ru_maxrss < 2'000'000);  // KiB
}

TEST_CASE("info_nce keeps its scale at 100, and lets it come back", "[ops]") {
  const Array text = rows_of_length({8, 4}, 1, 1), other = rows_of_length({8, 4}, 1, 2);
  const auto at = [&](const Array& image, double s) {
    return run([&](auto& t, auto& v, auto& a, auto&) { return info_nce(t, v, a); }, text, image, s);
  };
  CHECK(at(other, 9).loss == at(other, static_cast<double>(max_logit_scale)).loss);
  CHECK(at(text, 4).scale < 0);      // pairs that match gain from a larger scale,
  CHECK(at(text, 9).scale == 0);     // which it must not reach,
  CHECK(at(other, 9).scale > 0.1f);  // others from a smaller one
}

TEST_CASE("contrastive losses of bf16 rows are those of the rounded numbers", "[ops]") {
  for (const Device& device : devices())
    for (const Shape& shape : {Shape{65, 64}, Shape{5, 900}}) {  // on a GPU, as they are, and too wide for that
      INFO(shape << " on " << device);
      const Tensor rows = to_tensor(rows_of_length(shape, 3, 1), dtype::bf16, device);
      const Tensor others = to_tensor(rows_of_length(shape, 3, 2), dtype::bf16, device);
      const Naive<double> naive(to_array(rows), to_array(others));
      const std::vector<int> ids = some_ids(shape[0]);
      const Tensor given = Tensor::from(std::vector<std::int32_t>(ids.begin(), ids.end()), {shape[0]}, device);
      const auto check_one = [&](const Run& op, const Losses<double>& expected) {
        const Tensor text = rows.clone().requires_grad(), image = others.clone().requires_grad();
        const Tensor s = full({1}, 0.5, dtype::f32, device).requires_grad();
        const Tensor loss = op(text, image, s, full({}, -2, dtype::f32, device));
        CHECK(loss.item() == Approx(expected.loss).epsilon(1e-5));
        backward(scale(loss, 2));
        CHECK(text.grad().dtype() == dtype::bf16);
        CHECK(error(to_array(scale(text.grad(), 0.5f)).values, expected.text) <= 1e-2);
        CHECK(error(to_array(scale(image.grad(), 0.5f)).values, expected.image) <= 1e-2);
        CHECK(s.grad().to_vector()[0] / 2 == Approx(expected.scale).epsilon(1e-4).margin(1e-5));
      };
      for (const bool detached : {false, true})
        check_one([&](auto& t, auto& v, auto& s, auto&) { return soft_target_loss(t, v, s, detached); },
                  naive.soft_targets(0.5, detached));
      check_one([&](auto& t, auto& v, auto& s, auto&) { return info_nce(t, v, s, given); }, naive.info_nce(0.5, ids));
      check_one([&](auto& t, auto& v, auto& s, auto& b) { return siglip_loss(t, v, s, b, given); },
                naive.siglip(0.5, -2, ids));
    }
}

TEST_CASE("contrastive losses pass on the gradient of what follows, and need none", "[ops]") {
  const Array text = rows_of_length({9, 5}, 2, 1), image = rows_of_length({9, 5}, 2, 2);
  const auto plain = run([](auto& t, auto& v, auto& s, auto&) { return soft_target_loss(t, v, s); }, text, image, 1);
  const auto twice =
      run([](auto& t, auto& v, auto& s, auto&) { return scale(soft_target_loss(t, v, s), -2); }, text, image, 1);
  for (std::size_t i = 0; i < plain.text.size(); ++i) CHECK(twice.text[i] == -2 * plain.text[i]);
  CHECK(twice.scale == -2 * plain.scale);
  CHECK(soft_target_loss(to_tensor(text), to_tensor(image)).item() == plain.loss);
  CHECK_FALSE(soft_target_loss(to_tensor(text), to_tensor(image)).needs_grad());
  const Tensor only_text = to_tensor(text).requires_grad();
  backward(soft_target_loss(only_text, to_tensor(image), {.temperature = 1}));
  CHECK(only_text.grad().to_vector() == plain.text);
}

TEST_CASE("contrastive losses give the same bits again", "[ops][threads]") {
  const Array text = rows_of_length({1100, 32}, 3, 1), image = rows_of_length({1100, 32}, 3, 2);
  const auto once = [&](const Run& op) {
    const auto result = run(op, text, image, 1.5);
    return std::vector{result.text, result.image, {result.loss, result.scale, result.bias}};
  };
  const std::vector<Run> ops{[](auto& t, auto& v, auto& s, auto&) { return soft_target_loss(t, v, s); },
                             [](auto& t, auto& v, auto& s, auto&) { return info_nce(t, v, s); },
                             [](auto& t, auto& v, auto& s, auto& b) { return siglip_loss(t, v, s, b); }};
  for (const Run& op : ops) {
    const auto first = once(op);
    for (int again = 0; again < 3; ++again) CHECK(once(op) == first);
  }
}

TEST_CASE("contrastive losses refuse what they cannot compute", "[ops]") {
  const Tensor x = ones({3, 2}), s = Tensor::of(1);
  CHECK(throws_with(
      [&] {
        soft_target_loss(x, ones({2, 2}));
      },
      "[soft_target_loss] expected text and image [N, D] of one shape with N, D >= 1, got [3, 2] and [2, 2]"));
  CHECK(throws_with([&] { info_nce(ones({3}), ones({3}), s); }, "[info_nce] expected text and image [N, D]"));
  CHECK(throws_with([&] { siglip_loss(ones({0, 2}), ones({0, 2}), s, s); }, "with N, D >= 1, got [0, 2]"));
  CHECK(throws_with(
      [&] {
        info_nce(x, ones({3, 2}, dtype::bf16), s);
      },
      "of one dtype and device, got f32 on cpu and bf16"));
  CHECK(throws_with([&] { soft_target_loss(x, x, {.temperature = 0}); },
                    "[soft_target_loss] expected a temperature > 0, got 0"));
  CHECK(throws_with([&] { soft_target_loss(x, x, Tensor::of(-1)); }, "expected a temperature > 0, got -1"));
  CHECK(throws_with([&] { info_nce(x, x, Tensor()); }, "[info_nce] expected a defined tensor"));
  CHECK(throws_with([&] { info_nce(x, x, ones({2})); }, "expected a logit scale: one f32 number on cpu, got f32 [2]"));
  CHECK(throws_with([&] { siglip_loss(x, x, s, full({1}, NAN)); },
                    "[siglip_loss] expected a logit bias that is finite, got nan"));
  CHECK(throws_with([&] { info_nce(x, x, s, ones({2}, dtype::i32)); }, "[info_nce] expected ids i32 [3], got i32 [2]"));
  CHECK(throws_with([&] { info_nce(x, x, s, ones({3})); }, "[info_nce] expected ids i32 [3], got f32 [3]"));
}

TEST_CASE("contrastive losses and their gradients agree on all devices", "[ops]") {
  const Array t = random_array({70, 12}), v = random_array({70, 12}, -1, 1, 1);
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < 70; ++i) ids.push_back(i / 2);
  const auto results = [&](const Device& device, int which) {
    std::vector<Tensor> in{to_tensor(t, dtype::f32, device), to_tensor(v, dtype::f32, device),
                           full({}, 0.5, dtype::f32, device), full({}, -0.25, dtype::f32, device)};
    for (Tensor& x : in) x.requires_grad();
    const Tensor positives = Tensor::from(ids, {70}, device);
    const Tensor loss = which == 0   ? soft_target_loss(in[0], in[1], in[2], false)
                        : which == 1 ? info_nce(in[0], in[1], in[2], positives)
                                     : siglip_loss(in[0], in[1], in[2], in[3], positives);
    backward(loss);
    std::vector<double> numbers = to_array(loss).values;
    for (const Tensor& x : in)
      if (x.grad().defined())
        for (const double g : to_array(x.grad()).values) numbers.push_back(g);
    return numbers;
  };
  for (const int which : {0, 1, 2}) {
    const std::vector<double> expected = results(Device::cpu(), which);
    for (const Device& device : devices()) {
      const std::vector<double> found = results(device, which);
      REQUIRE(found.size() == expected.size());
      double worst = 0;
      for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(found[i] - expected[i]));
      INFO("loss " << which << " on " << device);
      CHECK(worst <= 2e-5);
    }
  }
}
