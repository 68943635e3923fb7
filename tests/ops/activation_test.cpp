#include "clip/ops/activation.hpp"

#include <cmath>
#include <limits>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

double value(Activation f, double x) {
  switch (f) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::quick_gelu: return x / (1 + std::exp(-1.702 * x));
  }
  return 0;
}

constexpr Activation all[] = {Activation::none, Activation::relu,      Activation::sigmoid,   Activation::tanh,
                              Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu};

}  // namespace

TEST_CASE("activations agree with double precision, gradients with its differences", "[ops]") {
  for (const Activation f : all)
    for (const std::int64_t n : awkward)
      check_op(
          "activation " + std::to_string(static_cast<int>(f)), [=](auto& in) { return activation(in[0], f); },
          [=](const std::vector<Array>& in) {
            Array y(in[0].shape);
            for (std::int64_t i = 0; i < n; ++i) y[i] = value(f, in[0][i]);
            return y;
          },
          {random_array({n}, -6, 6)});
}

TEST_CASE("activations hold far from zero", "[ops]") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const Activation f : {Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu}) {
    const std::vector<float> y =
        activation(Tensor::from(std::vector<float>{-100, 100, -1e30f, 1e30f, 0, inf}, {6}), f).to_vector();
    CHECK(y[0] == 0);
    CHECK(y[1] == 100);
    CHECK(y[2] == 0);
    CHECK(y[3] == 1e30f);
    CHECK(y[4] == 0);
    CHECK(y[5] == inf);
  }
  CHECK(tanh(Tensor::of({-100, 100})).to_vector() == std::vector<float>{-1, 1});
  CHECK(sigmoid(Tensor::of({-200, 200})).to_vector() == std::vector<float>{0, 1});
  CHECK(std::isnan(relu(Tensor::of({std::nan("")})).item()));
  // small arguments keep their relative accuracy: the tail of the distribution is not lost in 1 - 1
  CHECK(gelu(Tensor::of({-6.0})).item() == Approx(value(Activation::gelu, -6)).epsilon(1e-5));
  CHECK(tanh(Tensor::of({1e-6})).item() == Approx(1e-6).epsilon(1e-6));
}

TEST_CASE("activations refuse integers", "[ops]") {
  CHECK(throws_with([] { gelu(Tensor::of({1}, dtype::i64)); }, "[gelu] expected f32 or bf16, got i64"));
  CHECK(throws_with([] { quick_gelu(zeros({1}, dtype::f16)); }, "[quick_gelu] expected f32 or bf16, got f16"));
}
