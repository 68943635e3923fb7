#include "kernels/epilogue.hpp"

#include "tests/support/device_array.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

constexpr Activation all_activations[] = {Activation::none,      Activation::relu, Activation::sigmoid,
                                          Activation::tanh,      Activation::gelu, Activation::gelu_tanh,
                                          Activation::quick_gelu};

}  // namespace

TEST_CASE("CUDA epilogues round f(y + bias) once", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t rows, cols, shift, bias_shift;
  };
  for_each_type([&]<class T>() {
    for (const Case& c : {Case{0, 8, 0, 0},
                          {3, 0, 0, 0},
                          {1, 1, 0, 0},
                          {9, 24, 0, 0},
                          {5, 2056, 0, 0},
                          {7, 16, 1, 0},
                          {6, 16, 0, 1},
                          {33, 13, 0, 0}})
      for (const Activation f : all_activations)
        for (const bool biased : {false, true}) {
          INFO("[" << c.rows << ", " << c.cols << "] " << c.shift << ", bias " << biased << ' ' << c.bias_shift
                   << " past aligned addresses, activation " << static_cast<int>(f));
          const auto before = random_values<T>(c.rows * c.cols, -4, 4, 1), bias = random_values<T>(c.cols, -4, 4, 2);
          DeviceArray<T> y(before, c.shift), biases(bias, c.bias_shift);
          cuda::apply_epilogue<T>(y.data(), biased ? biases.data() : nullptr, f, c.rows, c.cols, nullptr);
          std::vector<double> expected = widened(before);
          const std::vector<double> row = widened(bias);
          for (std::size_t i = 0; i < expected.size(); ++i)
            expected[i] = reference_activation(f, expected[i] + (biased ? row[i % row.size()] : 0));
          CHECK(worst_error(y.read(), expected) <= rounding<T>);
        }
  });
}
