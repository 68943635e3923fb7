// Convolutions as the library calls them: through cuDNN on a GPU, through its stand-in on the host executor.
#include "kernels/conv2d.hpp"

#include "tests/support/device_array.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;
using clip::kernels::Conv2dShape;
namespace cuda = clip::kernels::cuda;

namespace {

struct Extra {
  bool bias = false, accumulate = false;
  Activation activation = Activation::none;
  std::int64_t shift = 0;  // elements of each operand past an aligned address
};

/// Calls f(y, x, w) with the elements of each that are multiplied with one another; weights are [out, h, w, in].
template <class F>
void for_each_product(const Conv2dShape& s, const F& f) {
  for (std::int64_t y = 0; y < s.y_size(); ++y) {
    const std::int64_t o = y % s.out, j = y / s.out % s.out_w(), i = y / s.out / s.out_w() % s.out_h();
    const std::int64_t n = y / s.out / s.out_w() / s.out_h();
    for (std::int64_t p = 0; p < s.kernel_h; ++p)
      for (std::int64_t q = 0; q < s.kernel_w; ++q) {
        const std::int64_t row = i * s.stride + p - s.padding, col = j * s.stride + q - s.padding;
        if (row < 0 || row >= s.h || col < 0 || col >= s.w) continue;
        for (std::int64_t c = 0; c < s.in; ++c)
          f(static_cast<std::size_t>(y), static_cast<std::size_t>(((n * s.h + row) * s.w + col) * s.in + c),
            static_cast<std::size_t>(((o * s.kernel_h + p) * s.kernel_w + q) * s.in + c));
      }
  }
}

/// Whether y = activation(convolution + bias + y) and both gradients are what a loop in double computes.
template <class T>
void check_conv2d(cuda::ConvolutionPlans& plans, const Conv2dShape& s, const Extra& extra = {}) {
  INFO(s.n << " of " << s.h << " x " << s.w << " x " << s.in << " to " << s.out << ", kernel " << s.kernel_h << " x "
           << s.kernel_w << ", stride " << s.stride << ", padding " << s.padding << ", bias " << extra.bias
           << ", accumulate " << extra.accumulate << ", activation " << static_cast<int>(extra.activation) << ", shift "
           << extra.shift);
  const auto x = random_values<T>(s.x_size(), -1, 1, 1), w = random_values<T>(s.w_size(), -1, 1, 2);
  const auto bias = random_values<T>(s.out, -1, 1, 3);
  const auto before = random_values<T>(s.y_size(), -1, 1, 4), dy = random_values<T>(s.y_size(), -1, 1, 5);
  DeviceArray<T> xs(x, extra.shift), ws(w, extra.shift), biases(bias, extra.shift), dys(dy, extra.shift);
  DeviceArray<T> y = extra.accumulate ? DeviceArray<T>(before, extra.shift) : DeviceArray<T>(s.y_size(), extra.shift);
  DeviceArray<T> dx(s.x_size(), extra.shift), dw(s.w_size(), extra.shift);
  cuda::conv2d_forward<T>(y.data(), xs.data(), ws.data(), s,
                          {extra.bias ? biases.data() : nullptr, extra.accumulate, extra.activation}, plans);
  cuda::conv2d_backward_data<T>(dx.data(), dys.data(), ws.data(), s, plans);
  cuda::conv2d_backward_weights<T>(dw.data(), dys.data(), xs.data(), s, plans);

  const std::vector<double> image = widened(x), weights = widened(w), row = widened(bias), slope = widened(dy);
  std::vector<double> expected_y = extra.accumulate ? widened(before) : std::vector<double>(before.size());
  std::vector<double> expected_dx(x.size()), expected_dw(w.size());
  for_each_product(s, [&](std::size_t at, std::size_t pixel, std::size_t weight) {
    expected_y[at] += image[pixel] * weights[weight];
    expected_dx[pixel] += slope[at] * weights[weight];
    expected_dw[weight] += slope[at] * image[pixel];
  });
  for (std::size_t i = 0; i < expected_y.size(); ++i)
    expected_y[i] = reference_activation(extra.activation,
                                         expected_y[i] + (extra.bias ? row[i % static_cast<std::size_t>(s.out)] : 0));
  // Sums of TF32's products would be off by 1e-3. What is rounded twice is off by as much more.
  CHECK(worst_error(y.read(), expected_y) <= 3 * rounding<T>);
  CHECK(worst_error(dx.read(), expected_dx) <= 3 * rounding<T>);
  CHECK(worst_error(dw.read(), expected_dw) <= 3 * rounding<T>);
}

/// Plans that live as long as the test.
class Plans {
 public:
  cuda::ConvolutionPlans& operator*() const { return *static_cast<cuda::ConvolutionPlans*>(owner_.get()); }

 private:
  std::shared_ptr<void> owner_ = cuda::make_convolution_plans(nullptr);
};

}  // namespace

TEST_CASE("CUDA convolutions and their gradients", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const Conv2dShape& s : {Conv2dShape{1, 1, 1, 1, 1, 1, 1, 1, 0},
                                 {2, 5, 7, 3, 8, 3, 3, 1, 1},
                                 {1, 9, 8, 8, 16, 7, 7, 2, 3},
                                 {2, 4, 5, 5, 7, 1, 1, 2, 0},
                                 {1, 6, 4, 4, 9, 3, 2, 1, 0},
                                 {0, 4, 4, 3, 8, 3, 3, 1, 1},
                                 {1, 4, 4, 0, 8, 3, 3, 1, 1},
                                 {1, 4, 4, 3, 0, 3, 3, 1, 1}})
      check_conv2d<T>(*plans, s);
  });
}

TEST_CASE("CUDA convolutions do what cuDNN can of an epilogue, and then the rest", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const Activation f : {Activation::none, Activation::relu, Activation::gelu})
      for (const std::int64_t out : {8, 9})
        for (const std::int64_t in : {4, 0})
          for (const bool accumulate : {false, true})
            for (const bool bias : {false, true})
              check_conv2d<T>(*plans, {1, 3, 4, in, out, 3, 3, 1, 1}, {bias, accumulate, f});
  });
}

TEST_CASE("CUDA convolutions of misaligned operands", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const std::int64_t shift : {0, 1, 8})
      check_conv2d<T>(*plans, {2, 3, 4, 8, 16, 3, 3, 1, 1}, {true, true, Activation::relu, shift});
  });
}

TEST_CASE("CUDA convolutions say how much memory a misaligned operand lacks", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  DeviceArray<float> one(1, 1);
  const Conv2dShape s{std::int64_t{1} << 42, 1, 1, 1, 1, 3, 3, 1, 1};  // 16 TiB
  CHECK(throws_with([&] { cuda::conv2d_forward<float>(one.data(), one.data(), one.data(), s, {}, *plans); },
                    "[conv2d] allocating 17592186044416 bytes for a copy of a misaligned operand: "));
}
