#include "kernels/activation.hpp"
#include "tests/support/device_array.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA activations and their derivatives", "[kernels][cuda]") {
  if (!have_device()) return;
  for_each_type([]<class T>() {
    for (const Activation f : {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh,
                               Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu})
      for (const std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{2049}, std::int64_t{4099}}) {
        INFO("activation " << static_cast<int>(f) << " of " << n);
        const std::int64_t shift = n == 4099 ? 1 : 0;
        const auto x = random_values<T>(n, -12, 12, 1), dy = random_values<T>(n, -1, 1, 2);
        DeviceArray<T> xs(x, shift), dys(dy, shift), y(n, shift), dx(n, shift);
        cuda::activation_forward(f, y.data(), xs.data(), n, nullptr);
        cuda::activation_backward(f, dx.data(), dys.data(), xs.data(), n, nullptr);
        std::vector<double> expected_y, expected_dx;
        const std::vector<double> in = widened(x), gradient = widened(dy);
        for (std::size_t i = 0; i < in.size(); ++i) {
          constexpr double h = 1e-5;
          expected_y.push_back(reference_activation(f, in[i]));
          expected_dx.push_back(gradient[i] *
                                (reference_activation(f, in[i] + h) - reference_activation(f, in[i] - h)) / (2 * h));
        }
        CHECK(worst_error(y.read(), expected_y) <= rounding<T>);
        CHECK(worst_error(dx.read(), expected_dx) <= rounding<T>);
      }
  });
}

TEST_CASE("CUDA activations of special values", "[kernels][cuda]") {
  if (!have_device()) return;
  const float inf = HUGE_VALF, nan = std::nanf("");
  DeviceArray<float> x({-inf, inf, nan, -0.0f, 1e30f, -1e30f, -6, 0}), y(8);
  cuda::activation_forward(Activation::gelu, y.data(), x.data(), 8, nullptr);
  CHECK(worst_error(y.read(), {0, HUGE_VAL, std::nan(""), 0, 1e30, 0, 0, 0}) <= 1e-7);
  CHECK(y.read()[6] == Approx(-6 * 0.5 * std::erfc(6 / std::sqrt(2.0))).epsilon(1e-5));  // small values keep digits
  cuda::activation_forward(Activation::sigmoid, y.data(), x.data(), 8, nullptr);
  CHECK(worst_error(y.read(), {0, 1, std::nan(""), 0.5, 1, 0, 1 / (1 + std::exp(6.0)), 0.5}) <= 1e-6);
  cuda::activation_forward(Activation::relu, y.data(), x.data(), 8, nullptr);
  CHECK(worst_error(y.read(), {0, HUGE_VAL, std::nan(""), 0, 1e30, 0, 0, 0}) <= 1e-7);
}
