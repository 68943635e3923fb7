#include "kernels/attention.hpp"

#include <tuple>

#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;
using kernels::AttentionShape;

namespace {

using Values = std::vector<double>;

struct Case {
  const char* name;
  std::int64_t sequences, heads, dim, queries, keys;
  std::vector<std::int32_t> offsets = {};
  bool queries_packed = false, masked = false, causal = false;
  float dropout = 0;
  std::int64_t shift = 0;

  std::int64_t query_rows() const { return queries_packed ? offsets.back() : sequences * queries; }
  std::int64_t key_rows() const { return offsets.empty() ? sequences * keys : offsets.back(); }
  /// The last sequence has no keys, the first has holes.
  bool hidden(std::int64_t s, std::int64_t j) const { return masked && (s == sequences - 1 || (s == 0 && j % 3 != 1)); }
};
const Case cases[] = {
    {.name = "one of each", .sequences = 1, .heads = 1, .dim = 1, .queries = 1, .keys = 1, .shift = 1},
    {.name = "several tiles", .sequences = 1, .heads = 2, .dim = 64, .queries = 70, .keys = 90},
    {.name = "rows of any address", .sequences = 2, .heads = 1, .dim = 21, .queries = 5, .keys = 40, .shift = 1},
    {.name = "no keys", .sequences = 1, .heads = 2, .dim = 8, .queries = 3, .keys = 0},
    {.name = "no queries", .sequences = 1, .heads = 2, .dim = 8, .queries = 0, .keys = 3},
    {.name = "a wide head", .sequences = 1, .heads = 1, .dim = 136, .queries = 33, .keys = 33, .causal = true},
    {.name = "a mask", .sequences = 3, .heads = 2, .dim = 8, .queries = 2, .keys = 80, .masked = true},
    {.name = "a mask of causal attention",
     .sequences = 2,
     .heads = 1,
     .dim = 16,
     .queries = 100,
     .keys = 100,
     .masked = true,
     .causal = true},
    {.name = "packed sequences, with dropout",
     .sequences = 4,
     .heads = 2,
     .dim = 32,
     .queries = 70,
     .keys = 70,
     .offsets = {0, 3, 3, 73, 90},
     .queries_packed = true,
     .causal = true,
     .dropout = 0.3f},
    {.name = "packed keys, with dropout",
     .sequences = 3,
     .heads = 2,
     .dim = 6,
     .queries = 2,
     .keys = 37,
     .offsets = {0, 1, 38, 38},
     .dropout = 0.6f},
};
constexpr std::uint64_t seed = 5, offset = 11;

struct Results {
  Values y, lse, dq, dk, dv;
};

/// As one would write it down, with whole rows of probabilities, in double.
Results naive(const Case& c, double scale, const Values& q, const Values& k, const Values& v, const Values& dy) {
  Results e;
  e.y.resize(q.size());
  e.dq.resize(q.size());
  e.dk.resize(k.size());
  e.dv.resize(k.size());
  e.lse.resize(q.size() / static_cast<std::size_t>(c.dim));
  for (std::int64_t s = 0; s < c.sequences; ++s) {
    const auto at = static_cast<std::size_t>(s);
    const std::int64_t k0 = c.offsets.empty() ? s * c.keys : c.offsets[at];
    const std::int64_t keys = c.offsets.empty() ? c.keys : c.offsets[at + 1] - k0;
    const std::int64_t q0 = c.queries_packed ? k0 : s * c.queries, queries = c.queries_packed ? keys : c.queries;
    for (std::int64_t h = 0; h < c.heads; ++h)
      for (std::int64_t i = 0; i < queries; ++i) {
        const std::int64_t row = (q0 + i) * c.heads + h;
        const auto query = static_cast<std::size_t>(row * c.dim), dim = static_cast<std::size_t>(c.dim);
        const auto key = [&](std::int64_t j) { return static_cast<std::size_t>(((k0 + j) * c.heads + h) * c.dim); };
        const auto dot = [&](const Values& a, const Values& b, std::size_t b_at) {
          double sum = 0;
          for (std::size_t d = 0; d < dim; ++d) sum += a[query + d] * b[b_at + d];
          return sum;
        };
        const auto blocks = (c.keys + 3) / 4;
        Values p(static_cast<std::size_t>(keys)), m(p.size(), 1.0), dp(p.size());
        double total = 0, delta = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto n = static_cast<std::size_t>(j);
          if (c.dropout > 0) {
            const auto words = philox(seed, offset + static_cast<std::uint64_t>(row * blocks + j / 4));
            m[n] =
                words[n % 4] < static_cast<double>(c.dropout) * 0x1p32 ? 0 : 1 / (1 - static_cast<double>(c.dropout));
          }
          const bool seen = !c.hidden(s, j) && (!c.causal || j <= i);
          total += p[n] = seen ? std::exp(scale * dot(q, k, key(j))) : 0;
        }
        e.lse[static_cast<std::size_t>(row)] = total == 0 ? HUGE_VAL : std::log(total);
        if (total == 0) continue;
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto n = static_cast<std::size_t>(j);
          p[n] /= total;
          dp[n] = m[n] * dot(dy, v, key(j));
          delta += p[n] * dp[n];
          for (std::size_t d = 0; d < dim; ++d) e.y[query + d] += m[n] * p[n] * v[key(j) + d];
        }
        for (std::int64_t j = 0; j < keys; ++j) {
          const auto n = static_cast<std::size_t>(j);
          const double ds = scale * p[n] * (dp[n] - delta);
          for (std::size_t d = 0; d < dim; ++d) {
            e.dq[query + d] += ds * k[key(j) + d];
            e.dk[key(j) + d] += ds * q[query + d];
            e.dv[key(j) + d] += m[n] * p[n] * dy[query + d];
          }
        }
      }
  }
  return e;
}

/// Largest error against the largest number, or 1.
template <class T>
double relative_error(const std::vector<T>& a, const Values& b) {
  double largest = 1;
  for (const double each : b) largest = std::max(largest, std::isfinite(each) ? std::abs(each) : 0);
  Values scaled;
  std::vector<float> of_a;
  for (std::size_t i = 0; i < b.size(); ++i) {
    scaled.push_back(b[i] / largest);
    of_a.push_back(static_cast<float>(static_cast<double>(static_cast<float>(a[i])) / largest));
  }
  return worst_error(of_a, scaled);
}

DeviceArray<float> array(const std::vector<float>& values) { return DeviceArray<float>(values); }

}  // namespace

TEST_CASE("CUDA attention", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([]<class T>() {
    for (const Case& c : cases) {
      INFO(c.name);
      const std::int64_t n = c.query_rows() * c.heads * c.dim, m = c.key_rows() * c.heads * c.dim, rows = n / c.dim;
      const auto q = random_values<T>(n, -2, 2, 1), k = random_values<T>(m, -2, 2, 2),
                 v = random_values<T>(m, -1, 1, 3);
      const auto dy = random_values<T>(n, -1, 1, 4);
      const double scale = 1 / std::sqrt(static_cast<double>(c.dim));
      const Results e = naive(c, scale, widened(q), widened(k), widened(v), widened(dy));

      std::vector<std::uint8_t> mask;
      for (std::int64_t i = 0; i < c.sequences * c.keys; ++i)
        mask.push_back(c.hidden(i / std::max<std::int64_t>(c.keys, 1), i % std::max<std::int64_t>(c.keys, 1)) ? 0
                                                                                                              : 255);
      DeviceArray<std::uint8_t> device_mask(mask);
      DeviceArray<std::int32_t> device_offsets(c.offsets);
      const AttentionShape shape{.sequences = c.sequences,
                                 .heads = c.heads,
                                 .dim = c.dim,
                                 .queries = c.queries,
                                 .keys = c.keys,
                                 .offsets = c.offsets.empty() ? nullptr : device_offsets.data(),
                                 .queries_packed = c.queries_packed,
                                 .mask = c.masked ? device_mask.data() : nullptr,
                                 .causal = c.causal,
                                 .scale = static_cast<float>(scale),
                                 .dropout = {c.dropout, seed, offset}};
      DeviceArray<T> qs(q, c.shift), ks(k, c.shift), vs(v, c.shift), dys(dy, c.shift);
      const auto run = [&](bool queries, bool keys, bool values) {
        DeviceArray<T> y(n, c.shift), dq(n, c.shift), dk(m, c.shift), dv(m, c.shift);
        DeviceArray<float> lse(rows), delta(rows);
        cuda::attention_forward(y.data(), lse.data(), qs.data(), ks.data(), vs.data(), shape, nullptr);
        cuda::attention_backward(queries ? dq.data() : nullptr, keys ? dk.data() : nullptr,
                                 values ? dv.data() : nullptr, dys.data(), qs.data(), ks.data(), vs.data(), y.data(),
                                 lse.data(), shape, delta.data(), nullptr);
        return std::tuple(y.read(), lse.read(), dq.read(), dk.read(), dv.read());
      };
      const auto [y, lse, dq, dk, dv] = run(true, true, true);
      CHECK(relative_error(y, e.y) <= 2 * rounding<T>);
      CHECK(relative_error(lse, e.lse) <= 1e-5);
      CHECK(relative_error(dq, e.dq) <= 2 * rounding<T>);
      CHECK(relative_error(dk, e.dk) <= 2 * rounding<T>);
      CHECK(relative_error(dv, e.dv) <= 2 * rounding<T>);
      if (&c != &cases[1]) continue;
      const std::vector<T> none = DeviceArray<T>(m).read();
      const auto of_queries = run(true, false, false), of_keys = run(false, true, false),
                 of_values = run(false, false, true);
      CHECK(same_bits(std::get<2>(of_queries), dq));
      CHECK(same_bits(std::get<3>(of_queries), none));
      CHECK(same_bits(std::get<4>(of_queries), none));
      CHECK(same_bits(std::get<3>(of_keys), dk));
      CHECK(same_bits(std::get<4>(of_keys), none));
      CHECK(same_bits(std::get<3>(of_values), none));
      CHECK(same_bits(std::get<4>(of_values), dv));
    }
  });
}

TEST_CASE("CUDA attention of special values", "[kernels][cuda]") {
  if (!have_device()) return;
  // two queries, keys with scores 300, -300 and 299 of the first, NaN of the second
  auto q = array({1, std::nanf("")}), k = array({300, -300, 299}), v = array({1, 10, 0});
  DeviceArray<float> y(2), lse(2);
  const AttentionShape shape{.sequences = 1, .heads = 1, .dim = 1, .queries = 2, .keys = 3};
  cuda::attention_forward(y.data(), lse.data(), q.data(), k.data(), v.data(), shape, nullptr);
  CHECK(worst_error(y.read(), {1 / (1 + std::exp(-1.0)), std::nan("")}) <= 2e-5);
  CHECK(worst_error(lse.read(), {300 + std::log1p(std::exp(-1.0)), std::nan("")}) <= 1e-6);
}

TEST_CASE("CUDA attention does not look at what a mask hides", "[kernels][cuda]") {
  if (!have_device()) return;
  const float nan = std::nanf("");
  const std::vector<std::uint8_t> mask{1, 0, 0};
  DeviceArray<std::uint8_t> device_mask(mask);
  auto q = array({1}), k = array({1, nan, HUGE_VALF}), v = array({2, nan, nan}), dy = array({1});
  DeviceArray<float> y(1), lse(1), delta(1), dq(1), dk(3), dv(3);
  const AttentionShape shape{.sequences = 1, .heads = 1, .dim = 1, .queries = 1, .keys = 3, .mask = device_mask.data()};
  cuda::attention_forward(y.data(), lse.data(), q.data(), k.data(), v.data(), shape, nullptr);
  cuda::attention_backward(dq.data(), dk.data(), dv.data(), dy.data(), q.data(), k.data(), v.data(), y.data(),
                           lse.data(), shape, delta.data(), nullptr);
  CHECK(y.read() == std::vector<float>{2});
  CHECK(worst_error(dq.read(), {0}) <= 1e-6);
  CHECK(worst_error(dk.read(), {0, 0, 0}) <= 1e-6);
  CHECK(worst_error(dv.read(), {1, 0, 0}) <= 1e-6);
}
