#include "clip/ops/conv2d.hpp"

#include <utility>

#include "clip/autograd.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/reduce.hpp"
#include "kernels/conv2d.hpp"
#include "src/dispatch.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

using kernels::Conv2dShape;

Tensor compute(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor residual, Activation f,
               const Conv2dShape& shape) {
  const bool accumulate = residual.defined();
  Tensor y = output_from(std::move(residual), {shape.n, shape.out_h(), shape.out_w(), shape.out}, x);
  const auto packed = packed_copies(w);
  dispatch_float(x.dtype(), "conv2d", [&]<class T>() {
    T* sums = y.mutable_data<T>();
    on_device(x.device(), "conv2d", [&] {
      kernels::cpu::conv2d_forward(sums, x.data<T>(), w.data<T>(), shape,
                                   {bias.defined() ? bias.data<T>() : nullptr, accumulate, f}, packed.get());
    });
  });
  return y;
}

Tensor gradient_x(const Tensor& dy, const Tensor& w, const Conv2dShape& shape) {
  Tensor dx({shape.n, shape.h, shape.w, shape.in}, dy.dtype(), dy.device());
  dispatch_float(dy.dtype(), "conv2d", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(dy.device(), "conv2d",
              [&] { kernels::cpu::conv2d_backward_data(out, dy.data<T>(), w.data<T>(), shape); });
  });
  return dx;
}

Tensor gradient_w(const Tensor& dy, const Tensor& x, const Conv2dShape& shape) {
  Tensor dw({shape.out, shape.in, shape.kernel_h, shape.kernel_w}, dy.dtype(), dy.device());
  dispatch_float(dy.dtype(), "conv2d", [&]<class T>() {
    T* out = dw.mutable_data<T>();
    on_device(dy.device(), "conv2d",
              [&] { kernels::cpu::conv2d_backward_weights(out, dy.data<T>(), x.data<T>(), shape); });
  });
  return dw;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, Conv2dOptions options) {
  check_float(x, "conv2d");
  check_tensor(w, "conv2d");
  check(x.rank() == 4, "conv2d", "expected images [N, H, W, C], got shape ", x.shape());
  check(w.rank() == 4, "conv2d", "expected weights [out, in, kernel height, kernel width], got shape ", w.shape());
  check(x.shape(3) == w.shape(1), "conv2d", "expected as many channels in images as in weights, got ", x.shape(),
        " and ", w.shape());
  check(options.stride >= 1 && options.stride <= std::int64_t{1} << 30, "conv2d",
        "expected a stride in [1, 2^30], got ", options.stride);
  check(options.padding >= 0 && options.padding <= std::int64_t{1} << 30, "conv2d",
        "expected a padding in [0, 2^30], got ", options.padding);
  const Conv2dShape shape{.n = x.shape(0),
                          .h = x.shape(1),
                          .w = x.shape(2),
                          .in = w.shape(1),
                          .out = w.shape(0),
                          .kernel_h = w.shape(2),
                          .kernel_w = w.shape(3),
                          .stride = options.stride,
                          .padding = options.padding};
  check(shape.kernel_h >= 1 && shape.kernel_h <= shape.h + 2 * shape.padding && shape.kernel_w >= 1 &&
            shape.kernel_w <= shape.w + 2 * shape.padding,
        "conv2d", "expected a kernel within the padded image, got weights ", w.shape(), " for images ", x.shape(),
        " and padding ", shape.padding);
  check_operand("conv2d", "weights", w, w.shape(), x);
  check_operand("conv2d", "a bias", bias, {shape.out}, x);
  check_operand("conv2d", "a residual", options.residual, {shape.n, shape.out_h(), shape.out_w(), shape.out}, x);
  if (!recording(x, w, bias, options.residual))
    return compute(x, w, bias, std::move(options.residual), options.activation, shape);

  const Tensor needed_x = w.needs_grad() ? x : Tensor(), needed_w = x.needs_grad() ? w : Tensor();
  const Tensor y = record(
      "conv2d", compute(x, w, bias, options.residual, Activation::none, shape), {x, w, bias, options.residual},
      [x = needed_x, w = needed_w, bias = bias.needs_grad(), shape](const Tensor& dy) {
        return Grads{w.defined() ? gradient_x(dy, w, shape) : Tensor(),
                     x.defined() ? gradient_w(dy, x, shape) : Tensor(), bias ? sum_to(dy, {shape.out}) : Tensor(), dy};
      });
  return activation(y, options.activation);
}

}  // namespace clip
