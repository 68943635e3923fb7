#include "clip/ops/l2_normalize.hpp"

#include "clip/autograd.hpp"
#include "kernels/l2_normalize.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

Tensor l2_normalize_backward(const Tensor& dy, const Tensor& x, const Tensor& norm, float eps) {
  Tensor dx = empty_like(x);
  const Rows size = as_rows(x.shape());
  dispatch_float(x.dtype(), "l2_normalize", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(
        x.device(), "l2_normalize",
        [&] {
          kernels::cpu::l2_normalize_backward(out, dy.data<T>(), x.data<T>(), norm.data<float>(), eps, size.rows,
                                              size.cols);
        },
        [&](auto stream) {
          kernels::cuda::l2_normalize_backward(out, dy.data<T>(), x.data<T>(), norm.data<float>(), eps, size.rows,
                                               size.cols, stream);
        });
  });
  return dx;
}

}  // namespace

Tensor l2_normalize(const Tensor& x, float eps) {
  check_float(x, "l2_normalize", Kernels::cpu_and_cuda);
  check(x.rank() >= 1, "l2_normalize", "expected rank >= 1, got shape ", x.shape());
  check(eps > 0, "l2_normalize", "expected eps > 0, got ", eps);
  const Rows size = as_rows(x.shape());
  Tensor y = empty_like(x), norm({size.rows}, dtype::f32, x.device());
  dispatch_float(x.dtype(), "l2_normalize", [&]<class T>() {
    T* out = y.mutable_data<T>();
    float* norms = norm.mutable_data<float>();
    on_device(
        x.device(), "l2_normalize",
        [&] { kernels::cpu::l2_normalize_forward(out, norms, x.data<T>(), eps, size.rows, size.cols); },
        [&](auto stream) {
          kernels::cuda::l2_normalize_forward(out, norms, x.data<T>(), eps, size.rows, size.cols, stream);
        });
  });
  return record("l2_normalize", y, {x},
                [x, norm, eps](const Tensor& dy) { return Grads{l2_normalize_backward(dy, x, norm, eps)}; });
}

}  // namespace clip
