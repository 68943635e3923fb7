#include "kernels/top_k.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>

#include "clip/core/device.hpp"
#include "kernels/cpu/simd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

using namespace clip;
using namespace clip::test;
using namespace clip::kernels;

namespace {

struct Found {
  std::vector<float> scores;
  std::vector<std::int64_t> rows, counts;
};

/// Of rows of bytes.
float factor_of(std::int64_t row) { return 0.25f * static_cast<float>(1 << row % 3); }

template <class T>
Found find(const std::vector<float>& queries, const T* rows, const TopKShape& shape, const std::vector<float>& least) {
  const TopKScratch need = cpu::top_k_scratch(shape);
  std::vector<double> scratch(static_cast<std::size_t>(need.total() / 8 + 1));
  const auto size = static_cast<std::size_t>(shape.queries * shape.k);
  Found found{std::vector<float>(size), std::vector<std::int64_t>(size), std::vector<std::int64_t>(least.size())};
  std::vector<float> factors;
  for (std::int64_t r = 0; r < shape.rows; ++r) factors.push_back(factor_of(r));
  cpu::top_k(found.scores.data(), found.rows.data(), queries.data(), rows, factors.data(), shape, scratch.data(),
             need.workers);
  if constexpr (std::is_same_v<T, float>)
    cpu::count_at_least(found.counts.data(), least.data(), queries.data(), rows, shape, scratch.data(), need.workers);
  return found;
}

/// Small integers, whose scores are exact and often equal.
template <class T>
std::vector<T> integers(std::int64_t count, std::uint64_t salt) {
  std::vector<T> values;
  for (const double v : random_array({count}, -3, 3, salt).values)
    values.push_back(T(static_cast<float>(std::round(v) + (std::is_same_v<T, std::uint8_t> ? 128 : 0))));
  return values;
}

template <class T>
float number(T stored, std::int64_t row) {
  const auto value = static_cast<float>(stored);
  return std::is_same_v<T, std::uint8_t> ? (value - 128) * factor_of(row) : value;
}

template <class T>
void check_search(TopKShape shape) {
  const std::vector<float> queries = integers<float>(shape.queries * shape.cols, 1);
  const std::vector<T> padded = integers<T>(shape.rows * shape.cols + 1, 2);
  const T* rows = padded.data() + 1;  // from any address
  Found expected;
  std::vector<float> least;
  for (std::int64_t q = 0; q < shape.queries; ++q) {
    std::vector<float> score(static_cast<std::size_t>(shape.rows));
    for (std::int64_t r = 0; r < shape.rows; ++r)
      for (std::int64_t i = 0; i < shape.cols; ++i)
        score[static_cast<std::size_t>(r)] +=
            queries[static_cast<std::size_t>(q * shape.cols + i)] * number(rows[r * shape.cols + i], r);
    std::vector<std::int64_t> order(score.size());
    std::iota(order.begin(), order.end(), 0);
    const auto of = [&](std::int64_t r) { return score[static_cast<std::size_t>(r)]; };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return of(a) > of(b); });
    for (std::int64_t i = 0; i < shape.k; ++i) {
      expected.rows.push_back(order[static_cast<std::size_t>(i)]);
      expected.scores.push_back(of(expected.rows.back()));
    }
    least.push_back(of(q % shape.rows));
    expected.counts.push_back(std::count_if(score.begin(), score.end(), [&](float s) { return s >= least.back(); }));
  }
  const Found found = find(queries, rows, shape, least);
  INFO(shape.queries << " queries, " << shape.rows << " x " << shape.cols << ", k = " << shape.k << ", " << sizeof(T));
  CHECK(found.rows == expected.rows);
  CHECK(found.scores == expected.scores);
  if constexpr (std::is_same_v<T, float>) CHECK(found.counts == expected.counts);
}

}  // namespace

TEST_CASE("top_k finds what sorting all scores finds, of equal ones the lower rows", "[kernels]") {
  for (const std::int64_t queries : {1, 2, 3, 4, 7})
    for (const std::int64_t rows : {1, 2, 15, 16, 17, 63, 300})
      for (const std::int64_t cols : {1, 15, 16, 17, 70})
        for (const std::int64_t k : {std::int64_t{1}, std::int64_t{10}, rows}) {
          check_search<float>({queries, rows, cols, std::min(k, rows)});
          check_search<f16>({queries, rows, cols, std::min(k, rows)});
          check_search<std::uint8_t>({queries, rows, cols, std::min(k, rows)});
        }
  check_search<float>({5, 40, 5000, 7});
  check_search<f16>({5, 40, 5000, 7});
  check_search<std::uint8_t>({5, 40, 5000, 7});
}

TEST_CASE("top_k gives the same for any number of threads and any batch of queries", "[kernels][threads]") {
  const TopKShape shape{.queries = 9, .rows = 5000, .cols = 37, .k = 20};
  const std::vector<float> queries = to_tensor(random_array({shape.queries * shape.cols}, -1, 1, 1)).to_vector();
  const std::vector<float> rows = to_tensor(random_array({shape.rows * shape.cols}, -1, 1, 2)).to_vector();
  std::vector<f16> halves;
  for (const float value : rows) halves.emplace_back(value);
  const std::vector<float> least(static_cast<std::size_t>(shape.queries), 1.5f);
  const int threads = num_threads();
  const auto check_all = [&](const auto* data) {
    set_num_threads(1);
    const Found expected = find(queries, data, shape, least);
    for (const int count : {2, 3, 5}) {
      set_num_threads(count);
      const Found found = find(queries, data, shape, least);
      CHECK(found.rows == expected.rows);
      CHECK(found.scores == expected.scores);
      CHECK(found.counts == expected.counts);
    }
    TopKShape one = shape;
    one.queries = 1;
    for (std::int64_t q = 0; q < shape.queries; ++q) {
      const auto from = queries.begin() + q * shape.cols;
      const Found found = find({from, from + shape.cols}, data, one, {1.5f});
      CHECK(std::equal(found.rows.begin(), found.rows.end(), expected.rows.begin() + q * shape.k));
      CHECK(std::equal(found.scores.begin(), found.scores.end(), expected.scores.begin() + q * shape.k));
      if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(*data)>, std::uint8_t>)
        CHECK(cpu::score_of(&*from, data + found.rows[0] * shape.cols, shape.cols) == found.scores[0]);
    }
  };
  check_all(rows.data());
  check_all(halves.data());
  check_all(integers<std::uint8_t>(shape.rows * shape.cols, 3).data());
  set_num_threads(threads);
}

TEST_CASE("scores agree with sums in double", "[kernels]") {
  for (const std::int64_t cols : awkward) {
    if (cols == 0) continue;
    const Array x = random_array({cols}, -1, 1, 1), y = random_array({cols}, -1, 1, 2);
    const std::vector<float> a = to_tensor(x).to_vector(), b = to_tensor(y).to_vector();
    std::vector<f16> halves;
    double expected = 0, expected_half = 0;
    for (std::int64_t i = 0; i < cols; ++i) {
      const auto at = static_cast<std::size_t>(i);
      halves.emplace_back(b[at]);
      expected += static_cast<double>(a[at]) * static_cast<double>(b[at]);
      expected_half += static_cast<double>(a[at]) * static_cast<double>(static_cast<float>(halves[at]));
    }
    CHECK(cpu::score_of(a.data(), b.data(), cols) == Approx(expected).margin(1e-5));
    CHECK(cpu::score_of(a.data(), halves.data(), cols) == Approx(expected_half).margin(1e-5));
  }
}

TEST_CASE("rows that cannot be ranked are found", "[kernels]") {
  std::vector<float> rows(100 * 33, 0.5f);
  CHECK(cpu::first_unsearchable(rows.data(), 100, 33) == -1);
  rows[70 * 33 + 32] = std::nanf("");
  rows[40 * 33 + 3] = std::numeric_limits<float>::infinity();
  CHECK(cpu::first_unsearchable(rows.data(), 100, 33) == 40);
  rows[7 * 33] = 2e19f;  // its square is not finite
  CHECK(cpu::first_unsearchable(rows.data(), 100, 33) == 7);
  std::vector<f16> halves(50 * 16, f16(65504.0f));
  CHECK(cpu::first_unsearchable(halves.data(), 50, 16) == -1);
  halves[49 * 16] = f16(1e6f);
  CHECK(cpu::first_unsearchable(halves.data(), 50, 16) == 49);
}

TEST_CASE("every f16 is widened exactly", "[kernels]") {
  std::vector<f16> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  std::vector<float> wide(all.size());
  cpu::vectorized(0, 65536, [&](std::int64_t begin, std::int64_t end) {
    cpu::map(
        wide.data(), begin, end, false, [](cpu::f32x16 v) __attribute__((always_inline)) { return v; }, all.data());
  });
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto expected = static_cast<float>(all[i]);
    wrong += std::memcmp(&wide[i], &expected, sizeof expected) != 0;
  }
  CHECK(wrong == 0);
}
