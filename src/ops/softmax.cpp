#include "clip/ops/softmax.hpp"

#include "clip/autograd.hpp"
#include "kernels/softmax.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
  Tensor dx = empty_like(y);
  const Rows size = as_rows(y.shape());
  dispatch_float(y.dtype(), "softmax", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(
        y.device(), "softmax",
        [&] { kernels::cpu::softmax_backward(out, dy.data<T>(), y.data<T>(), size.rows, size.cols); },
        [&](auto stream) {
          kernels::cuda::softmax_backward(out, dy.data<T>(), y.data<T>(), size.rows, size.cols, stream);
        });
  });
  return dx;
}

Tensor log_softmax_backward(const Tensor& dy, const Tensor& y) {
  Tensor dx = empty_like(y);
  const Rows size = as_rows(y.shape());
  dispatch_float(y.dtype(), "log_softmax", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(
        y.device(), "log_softmax",
        [&] { kernels::cpu::log_softmax_backward(out, dy.data<T>(), y.data<T>(), size.rows, size.cols); },
        [&](auto stream) {
          kernels::cuda::log_softmax_backward(out, dy.data<T>(), y.data<T>(), size.rows, size.cols, stream);
        });
  });
  return dx;
}

}  // namespace

Tensor softmax(const Tensor& x) {
  check_float(x, "softmax", Kernels::cpu_and_cuda);
  check(x.rank() >= 1, "softmax", "expected rank >= 1, got shape ", x.shape());
  Tensor y = empty_like(x);
  const Rows size = as_rows(x.shape());
  dispatch_float(x.dtype(), "softmax", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), "softmax", [&] { kernels::cpu::softmax_forward(out, x.data<T>(), size.rows, size.cols); },
        [&](auto stream) { kernels::cuda::softmax_forward(out, x.data<T>(), size.rows, size.cols, stream); });
  });
  return record("softmax", y, {x}, [y](const Tensor& dy) { return Grads{softmax_backward(dy, y)}; });
}

Tensor log_softmax(const Tensor& x) {
  check_float(x, "log_softmax", Kernels::cpu_and_cuda);
  check(x.rank() >= 1, "log_softmax", "expected rank >= 1, got shape ", x.shape());
  Tensor y = empty_like(x);
  const Rows size = as_rows(x.shape());
  dispatch_float(x.dtype(), "log_softmax", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), "log_softmax", [&] { kernels::cpu::log_softmax_forward(out, x.data<T>(), size.rows, size.cols); },
        [&](auto stream) { kernels::cuda::log_softmax_forward(out, x.data<T>(), size.rows, size.cols, stream); });
  });
  return record("log_softmax", y, {x}, [y](const Tensor& dy) { return Grads{log_softmax_backward(dy, y)}; });
}

}  // namespace clip
