#include "clip/ops/pool.hpp"

#include <limits>

#include "clip/autograd.hpp"
#include "clip/ops/reduce.hpp"
#include "kernels/pool.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

using kernels::PoolShape;

PoolShape pool_shape(const Shape& x, const MaxPool2dOptions& options) {
  const auto [kernel, stride, padding] = options;
  check(x.rank() == 4, "max_pool2d", "expected x [N, H, W, C], got shape ", x);
  check(kernel >= 1 && stride >= 1, "max_pool2d", "expected kernel and stride >= 1, got ", kernel, " and ", stride);
  check(kernel <= std::int64_t{1} << 30, "max_pool2d", "expected a kernel <= 2^30, got ", kernel);
  check(padding >= 0 && padding <= kernel / 2, "max_pool2d", "expected padding in [0, kernel / 2], got ", padding,
        " with kernel ", kernel);
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  check(x[1] >= 1 && x[2] >= 1 && x[1] <= most && x[2] <= most && x[1] * x[2] <= most, "max_pool2d",
        "expected 1 to 2^31 - 1 positions, got shape ", x);
  check(x[1] + 2 * padding >= kernel && x[2] + 2 * padding >= kernel, "max_pool2d", "expected an image of at least ",
        kernel, " x ", kernel, " with its padding, got shape ", x, " and padding ", padding);
  return {.images = x[0],
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .kernel = kernel,
          .stride = stride,
          .padding = padding,
          .out_height = (x[1] + 2 * padding - kernel) / stride + 1,
          .out_width = (x[2] + 2 * padding - kernel) / stride + 1};
}

Tensor max_pool2d_backward(const Tensor& dy, const Tensor& index, const PoolShape& shape) {
  Tensor dx({shape.images, shape.height, shape.width, shape.channels}, dy.dtype(), dy.device());
  dispatch_float(dy.dtype(), "max_pool2d", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    const std::int32_t* at = index.data<std::int32_t>();
    on_device(
        dy.device(), "max_pool2d", [&] { kernels::cpu::max_pool2d_backward(out, dy.data<T>(), at, shape); },
        [&](auto stream) { kernels::cuda::max_pool2d_backward(out, dy.data<T>(), at, shape, stream); });
  });
  return dx;
}

}  // namespace

Tensor max_pool2d(const Tensor& x, MaxPool2dOptions options) {
  check_float(x, "max_pool2d", Kernels::cpu_and_cuda);
  const PoolShape shape = pool_shape(x.shape(), options);
  Tensor y({shape.images, shape.out_height, shape.out_width, shape.channels}, x.dtype(), x.device());
  Tensor index = recording(x) ? Tensor(y.shape(), dtype::i32, x.device()) : Tensor();
  dispatch_float(x.dtype(), "max_pool2d", [&]<class T>() {
    T* out = y.mutable_data<T>();
    std::int32_t* at = index.defined() ? index.mutable_data<std::int32_t>() : nullptr;
    on_device(
        x.device(), "max_pool2d", [&] { kernels::cpu::max_pool2d_forward(out, at, x.data<T>(), shape); },
        [&](auto stream) { kernels::cuda::max_pool2d_forward(out, at, x.data<T>(), shape, stream); });
  });
  return record("max_pool2d", y, {x},
                [index, shape](const Tensor& dy) { return Grads{max_pool2d_backward(dy, index, shape)}; });
}

Tensor global_avg_pool(const Tensor& x) {
  check(x.rank() == 4, "global_avg_pool", "expected x [N, H, W, C], got shape ", x.shape());
  return mean(x, {1, 2});
}

}  // namespace clip
