#include "kernels/top_k.hpp"

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
using namespace clip::kernels;

namespace {

template <class T>
float number(T stored) {
  return static_cast<float>(stored) - (std::is_same_v<T, std::uint8_t> ? 128.0f : 0.0f);
}

/// Of rows of bytes.
float factor_of(std::int64_t row) { return 0.25f * static_cast<float>(1 << row % 3); }

/// Numbers between -3 and 3; whole ones score equally often.
template <class T>
std::vector<T> some_numbers(std::int64_t count, bool whole, std::uint64_t salt) {
  std::vector<T> values;
  for (const float v : random_values<float>(count, -3, 3, salt)) {
    if constexpr (std::is_same_v<T, std::uint8_t>)
      values.push_back(static_cast<T>(128 + std::lround(whole ? v : 42 * v)));
    else
      values.push_back(T(whole ? std::round(v) : v));
  }
  return values;
}

/// The scores [queries, rows]: chains of multiply-adds in f32.
template <class T>
std::vector<float> all_scores(const std::vector<float>& queries, const std::vector<T>& rows, const TopKShape& s) {
  std::vector<float> scores;
  for (std::int64_t q = 0; q < s.queries; ++q)
    for (std::int64_t r = 0; r < s.rows; ++r) {
      float sum = 0;
      for (std::int64_t c = 0; c < s.cols; ++c)
        sum = std::fmaf(queries[static_cast<std::size_t>(q * s.cols + c)],
                        number(rows[static_cast<std::size_t>(r * s.cols + c)]), sum);
      scores.push_back(std::is_same_v<T, std::uint8_t> ? sum * factor_of(r) : sum);
    }
  return scores;
}

template <class T>
void check_search(const TopKShape& s, bool whole, std::int64_t shift) {
  INFO(s.queries << " queries, " << s.rows << " rows of " << s.cols << ", k = " << s.k << ", " << sizeof(T)
                 << " bytes");
  const auto queries = some_numbers<float>(s.queries * s.cols, whole, 1);
  const auto rows = some_numbers<T>(s.rows * s.cols, whole, 2);
  const std::vector<float> all = all_scores(queries, rows, s);
  std::vector<float> factors, expected_scores;
  std::vector<std::int64_t> expected_rows;
  for (std::int64_t r = 0; r < s.rows; ++r) factors.push_back(factor_of(r));
  for (std::int64_t q = 0; q < s.queries; ++q) {
    const float* const score = all.data() + q * s.rows;
    std::vector<std::int64_t> order(static_cast<std::size_t>(s.rows));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + s.k, order.end(),
                      [&](auto a, auto b) { return score[a] > score[b] || (score[a] == score[b] && a < b); });
    for (std::int64_t i = 0; i < s.k; ++i) {
      expected_rows.push_back(order[static_cast<std::size_t>(i)]);
      expected_scores.push_back(score[expected_rows.back()]);
    }
  }
  DeviceArray<float> device_queries(queries, shift), device_factors(factors), scores(s.queries * s.k);
  DeviceArray<T> device_rows(rows, shift);
  DeviceArray<std::int64_t> found(s.queries * s.k), scratch(cuda::top_k_scratch(s) / 8);
  cuda::top_k(scores.data(), found.data(), device_queries.data(), device_rows.data(),
              std::is_same_v<T, std::uint8_t> ? device_factors.data() : nullptr, s, scratch.data(), nullptr);
  CHECK(found.read() == expected_rows);
  CHECK(scores.read() == expected_scores);
  scratch.read();
}

template <class T>
void check_counts(const TopKShape& s) {
  INFO(s.queries << " queries, " << s.rows << " rows of " << s.cols << ", " << sizeof(T) << " bytes");
  const auto queries = some_numbers<float>(s.queries * s.cols, true, 1);
  const auto rows = some_numbers<T>(s.rows * s.cols, true, 2);
  const std::vector<float> all = all_scores(queries, rows, s);
  std::vector<float> least;
  std::vector<std::int64_t> pairs, expected;
  for (std::int64_t q = 0; q < s.queries; ++q) {
    pairs.insert(pairs.end(), {q, q % s.rows});
    const auto begin = all.begin() + q * s.rows;
    least.push_back(begin[q % s.rows]);
    expected.push_back(std::count_if(begin, begin + s.rows, [&](float score) { return score >= least.back(); }));
  }
  DeviceArray<float> device_queries(queries, 1), device_least(s.queries);
  DeviceArray<T> device_rows(rows, 1);
  DeviceArray<std::int64_t> device_pairs(pairs), counts(s.queries), scratch(cuda::top_k_scratch(s) / 8);
  cuda::scores_of(device_least.data(), device_pairs.data(), s.queries, device_queries.data(), device_rows.data(),
                  s.cols, nullptr);
  cuda::count_at_least(counts.data(), device_least.data(), device_queries.data(), device_rows.data(), s, scratch.data(),
                       nullptr);
  CHECK(device_least.read() == least);
  CHECK(counts.read() == expected);
}

template <class T>
std::int64_t first_unsearchable(const std::vector<T>& rows, std::int64_t cols) {
  DeviceArray<T> device_rows(rows);
  DeviceArray<std::int64_t> first(1), scratch(cuda::unsearchable_blocks);
  cuda::first_unsearchable(first.data(), device_rows.data(), std::ssize(rows) / cols, cols, scratch.data(), nullptr);
  return first.read()[0];
}

}  // namespace

TEST_CASE("CUDA top_k finds what sorting all scores finds, of equal ones the lower rows", "[kernels][cuda]") {
  if (!have_device()) return;
  const auto check_all = []<class T>(T) {
    check_search<T>({1, 520, 64, 10}, false, 0);
    check_search<T>({1, 140, 19, 131}, true, 1);  // more than a list holds
    check_search<T>({17, 270, 48, 9}, true, 0);
    check_search<T>({2, 90, 300, 3}, false, 1);
    check_search<T>({3, 5, 1, 5}, true, 0);
  };
  check_all(0.0f);
  check_all(f16());
  check_all(std::uint8_t());
  check_search<float>({1, 102000, 1, 3}, true, 0);  // several tiles to a block of threads
}

TEST_CASE("CUDA count_at_least and scores_of agree with top_k", "[kernels][cuda]") {
  if (!have_device()) return;
  check_counts<float>({1, 3, 1});
  check_counts<float>({19, 700, 40});
  check_counts<float>({2113, 530, 2});
  check_counts<f16>({1, 3, 1});
  check_counts<f16>({19, 700, 40});
}

TEST_CASE("CUDA first_unsearchable", "[kernels][cuda]") {
  if (!have_device()) return;
  std::vector<float> rows(3000, 1e10f);
  CHECK(first_unsearchable(rows, 3) == -1);
  rows[2500] = std::nanf("");
  CHECK(first_unsearchable(rows, 3) == 833);
  rows[1201] = -HUGE_VALF;
  CHECK(first_unsearchable(rows, 3) == 400);
  rows[40] = 1e20f;
  CHECK(first_unsearchable(rows, 40) == 1);
  CHECK(first_unsearchable(std::vector<f16>(50, f16(HUGE_VALF)), 50) == 0);
  CHECK(first_unsearchable(std::vector<float>(), 4) == -1);
}
