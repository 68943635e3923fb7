// The core from several threads at once: each with its own tensors, and all with shared ones they only read.
#include <atomic>
#include <thread>
#include <vector>

#include "clip/core/random.hpp"
#include "clip/core/tensor.hpp"
#include "tests/support/catch.hpp"

using namespace clip;

namespace {

/// Runs `f(0)` … `f(count - 1)`, each on a thread of its own.
template <class F>
void on_threads(int count, const F& f) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(f, i);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("tensors are made, copied and dropped on several threads", "[core][threads]") {
  const Tensor shared = full({1000, 300}, 3);
  std::vector<float> firsts(4);
  on_threads(4, [&](int me) {
    for (int round = 0; round < 20; ++round) {
      const Tensor handle = shared;
      Tensor copy = handle.clone();  // large: from the pool of freed blocks
      copy.fill(me);
      firsts[static_cast<std::size_t>(me)] = copy.to_vector()[0] + handle.to_vector()[299'999];
    }
  });
  CHECK(firsts == std::vector<float>{3, 4, 5, 6});
}

TEST_CASE("random numbers do not depend on who draws beside", "[core][threads]") {
  Random alone(7);
  const std::vector<float> expected = randn({200, 101}, alone).to_vector();
  std::vector<int> equal(4);
  on_threads(4, [&](int me) {
    set_num_threads(me + 1);
    Random random(7);
    equal[static_cast<std::size_t>(me)] = randn({200, 101}, random).to_vector() == expected;
  });
  CHECK(equal == std::vector<int>(4, 1));
}

TEST_CASE("what is derived from a storage is made once for all threads, and again after a write", "[core][threads]") {
  static std::atomic<int> made{0};
  const auto make = +[] { return std::shared_ptr<void>(std::make_shared<int>(++made)); };
  Tensor weights = zeros({16});
  for (int version = 1; version <= 3; ++version) {
    std::vector<int> seen(4);
    on_threads(4, [&](int me) {
      for (int round = 0; round < 100; ++round)
        seen[static_cast<std::size_t>(me)] = *static_cast<const int*>(weights.storage()->derived(make).get());
    });
    CHECK(seen == std::vector<int>(4, version));
    weights.fill(version);
  }
  CHECK(made == 3);
}
