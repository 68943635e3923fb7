// Ops and autograd from several threads at once, on the same weights.
#include <thread>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/softmax.hpp"
#include "tests/support/catch.hpp"

using namespace clip;

namespace {

/// The gradient of a small network's input: enough rows for every kernel to use its threads.
std::vector<float> gradient(const Tensor& weights) {
  Random random(11);
  Tensor x = randn({600, 130}, random).requires_grad();
  Tensor y = softmax(gelu(mul(x, weights)));
  for (int layer = 0; layer < 10; ++layer) y = add(y, mul(y, x));
  backward(sum(y));
  return x.grad().to_vector();
}

}  // namespace

TEST_CASE("ops and backward on several threads give what one thread gives", "[ops][threads]") {
  Random random(5);
  const Tensor weights = randn({130}, random);
  const std::vector<float> expected = gradient(weights);
  std::vector<int> equal(4);
  std::vector<std::thread> threads;
  for (int& mine : equal)
    threads.emplace_back([&] {
      set_num_threads(3);
      mine = gradient(weights) == expected;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(equal == std::vector<int>(4, 1));
}

TEST_CASE("NoGrad holds for its own thread only", "[ops][threads]") {
  const Tensor x = ones({3}).requires_grad();
  const NoGrad guard;
  bool recorded = false;
  std::thread([&] { recorded = exp(x).needs_grad(); }).join();
  CHECK(recorded);
  CHECK_FALSE(exp(x).needs_grad());
}
