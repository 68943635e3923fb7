#include "kernels/cpu/parallel.hpp"

#include <numeric>
#include <thread>
#include <vector>

#include "clip/core/device.hpp"
#include "tests/support/catch.hpp"

using namespace clip;
using namespace clip::kernels::cpu;

namespace {

/// How often `parallel_for` visits each index: not atomic, so that ThreadSanitizer sees two threads on one index.
std::vector<int> visits(std::int64_t count, std::int64_t grain, std::int64_t step) {
  std::vector<int> seen(static_cast<std::size_t>(count));
  parallel_for(
      count, grain,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      },
      step);
  return seen;
}

}  // namespace

TEST_CASE("parallel_for visits every index once, for any number of threads", "[kernels][threads]") {
  const int before = num_threads();
  for (const int threads : {1, 2, 3, 5}) {
    set_num_threads(threads);
    for (const std::int64_t count : {0, 1, 2, 7, 64, 65, 1000, 4099})
      for (const std::int64_t grain : {0, 1, 3, 64, 999, 10000})
        for (const std::int64_t step : {1, 3, 64}) {
          const std::vector<int> seen = visits(count, grain, step);
          if (seen == std::vector<int>(seen.size(), 1)) continue;
          FAIL_CHECK(threads << " threads, count " << count << ", grain " << grain << ", step " << step);
        }
  }
  set_num_threads(before);
}

TEST_CASE("parallel_for splits at multiples of the step and never below the grain", "[kernels][threads]") {
  const int before = num_threads();
  set_num_threads(3);
  std::vector<std::int64_t> ends(1000);  // at each range's begin, its end
  parallel_for(
      1000, 250, [&](std::int64_t begin, std::int64_t end) { ends[static_cast<std::size_t>(begin)] = end; }, 64);
  set_num_threads(before);
  std::int64_t at = 0;
  int ranges = 0;
  for (; at < 1000; ++ranges) {
    CHECK(at % 64 == 0);
    const std::int64_t end = ends[static_cast<std::size_t>(at)];
    REQUIRE(end > at);
    CHECK(end - at >= 250);
    at = end;
  }
  CHECK(at == 1000);
  CHECK(ranges == 3);
}

TEST_CASE("parallel_for inside a parallel_for stays on its thread", "[kernels][threads]") {
  const int before = num_threads();
  set_num_threads(3);
  std::vector<std::int64_t> sums(9);
  parallel_for(9, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      parallel_for(100, 1,
                   [&](std::int64_t first, std::int64_t last) { sums[static_cast<std::size_t>(i)] += last - first; });
  });
  set_num_threads(before);
  CHECK(sums == std::vector<std::int64_t>(9, 100));
}

TEST_CASE("parallel_for works from several threads at once", "[kernels][threads]") {
  std::vector<std::int64_t> sums(4);
  std::vector<std::thread> threads;
  for (std::int64_t& sum : sums)
    threads.emplace_back([&sum] {
      set_num_threads(2);
      for (int round = 0; round < 20; ++round) {
        const std::vector<int> seen = visits(1001, 1, 1);
        sum += std::accumulate(seen.begin(), seen.end(), std::int64_t{0});
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(sums == std::vector<std::int64_t>(4, 20 * 1001));
}
