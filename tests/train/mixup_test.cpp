#include "clip/train/mixup.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

namespace {

using namespace clip;
using namespace clip::test;

TEST_CASE("rows are blended with the next by their weights", "[mixup]") {
  for (const Device& device : devices()) {
    INFO(device);
    const Tensor x = to(Tensor::of({{1, 10}, {2, 20}, {4, 40}}), device), weights = Tensor::of({1, 0.5, 0.25});
    CHECK(mixup(x, weights).to_vector() == std::vector<float>{1, 10, 3, 30, 1.75, 17.5});
    const Tensor cube = x.view(0, {3, 1, 2, 1});
    CHECK(mixup(cube, weights).to_vector() == mixup(x, weights).to_vector());
    CHECK(mixup(cube, weights).shape() == cube.shape());
    const Tensor one = x.view(2, {1, 2});
    CHECK(mixup(one, Tensor::of({0.5})).to_vector() == one.to_vector());
    CHECK(mixup(Tensor({0, 2}, dtype::f32, device), Tensor(Shape{0})).numel() == 0);
  }
  CHECK(throws_with([] { mixup(Tensor({3, 2}), Tensor::of({1, 1})); }, "[mixup] expected rows and a weight for each"));
  CHECK(throws_with([] { mixup(Tensor::of({1}).view(0, {}), Tensor::of({1})); }, "[mixup] expected rows"));
}

TEST_CASE("a share of the rows has uniform weights, others and other steps other ones", "[mixup]") {
  const std::vector<float> weights = mixup_weights(20000, 0.3, 7, 5).to_vector();
  std::vector<float> blended;
  for (const float w : weights)
    if (w != 1) blended.push_back(w);
  CHECK(static_cast<double>(blended.size()) == Approx(6000).margin(260));  // four standard deviations
  double sum = 0, squares = 0;
  for (const float w : blended) {
    sum += w;
    squares += double{w} * w;
  }
  const auto count = static_cast<double>(blended.size());
  CHECK(sum / count == Approx(0.5).margin(0.015));
  CHECK(squares / count == Approx(1 / 3.).margin(0.016));
  CHECK(*std::min_element(blended.begin(), blended.end()) >= 0);
  CHECK(mixup_weights(20000, 0.3, 7, 5).to_vector() == weights);
  CHECK(mixup_weights(20000, 0.3, 7, 6).to_vector() != weights);
  CHECK(mixup_weights(20000, 0.3, std::uint64_t{7} << 32, 5).to_vector() != weights);
  CHECK(mixup_weights(3, 0, 7, 5).to_vector() == std::vector<float>{1, 1, 1});
  CHECK(mixup_weights(0, 0.5, 7, 5).numel() == 0);
  CHECK(throws_with([] { mixup_weights(3, 1.5, 7, 5); }, "got 3 and 1.5"));
  CHECK(throws_with([] { mixup_weights(-1, 0.5, 7, 5); }, "got -1 and 0.5"));
}

}  // namespace
