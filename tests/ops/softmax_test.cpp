#include "clip/ops/softmax.hpp"

#include <cmath>
#include <limits>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference_softmax(const Array& x, bool logarithm) {
  Array y(x.shape);
  const auto [rows, cols] = as_rows(x.shape);
  for (std::int64_t r = 0; r < rows; ++r) {
    double top = -HUGE_VAL, sum = 0;
    for (std::int64_t c = 0; c < cols; ++c) top = std::max(top, x[r * cols + c]);
    for (std::int64_t c = 0; c < cols; ++c) sum += std::exp(x[r * cols + c] - top);
    for (std::int64_t c = 0; c < cols; ++c) {
      const double log_y = x[r * cols + c] - top - std::log(sum);
      y[r * cols + c] = logarithm ? log_y : std::exp(log_y);
    }
  }
  return y;
}

}  // namespace

TEST_CASE("softmax and log_softmax agree with a double loop and its differences", "[ops]") {
  for (const std::int64_t cols : awkward)
    for (const std::int64_t rows : {0, 1, 3}) {
      const std::vector<Array> inputs{random_array({rows, cols}, -4, 4)};
      check_op(
          "softmax", [](auto& in) { return softmax(in[0]); }, [](auto& in) { return reference_softmax(in[0], false); },
          inputs);
      check_op(
          "log_softmax", [](auto& in) { return log_softmax(in[0]); },
          [](auto& in) { return reference_softmax(in[0], true); }, inputs);
    }
}

TEST_CASE("softmax holds for logits far apart and for masked ones", "[ops]") {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> y = softmax(Tensor::from(std::vector<float>{256, -256, -inf, 255}, {4})).to_vector();
  CHECK(y[0] == Approx(1 / (1 + std::exp(-1.0))));
  CHECK(y[1] == 0);
  CHECK(y[2] == 0);
  CHECK(y[3] == Approx(1 / (1 + std::exp(1.0))));
  CHECK(std::isnan(softmax(full({3}, -inf)).to_vector()[0]));
}

TEST_CASE("softmax finds a large logit anywhere in a row, long ones too", "[ops]") {
  for (const std::int64_t cols : {70, 1000, 4096, 5001})  // rows beyond 4096 elements take their own path
    for (const std::int64_t at : {std::int64_t{0}, std::int64_t{33}, std::int64_t{50}, cols - 17, cols - 1}) {
      Array x = random_array({2, cols}, -4, 4);
      x[cols + at] = 300;
      const Array expected = reference_softmax(x, false), logarithm = reference_softmax(x, true);
      const Array y = to_array(softmax(to_tensor(x))), log_y = to_array(log_softmax(to_tensor(x)));
      std::int64_t wrong = 0;
      for (std::int64_t i = 0; i < 2 * cols; ++i) {
        wrong += !(std::abs(y[i] - expected[i]) <= 2e-6 * expected[i] + 1e-37);
        wrong += !(std::abs(log_y[i] - logarithm[i]) <= 1e-6 * std::abs(logarithm[i]));
      }
      CHECK(wrong == 0);
    }
}

TEST_CASE("softmax refuses scalars and integers", "[ops]") {
  CHECK(throws_with([] { softmax(Tensor::of(1)); }, "[softmax] expected rank >= 1, got shape []"));
  CHECK(throws_with([] { softmax(Tensor::of({1, 2}, dtype::i32)); }, "[softmax] expected f32 or bf16, got i32"));
}
