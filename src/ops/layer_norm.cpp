#include "clip/ops/layer_norm.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/reduce.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

void check_parameter(const Tensor& x, const Tensor& parameter, const char* name) {
  check(parameter.shape() == Shape{x.shape(-1)}, "layer_norm", "expected ", name, ' ', Shape{x.shape(-1)}, " for x ",
        x.shape(), ", got ", parameter.shape());
  check(parameter.dtype() == dtype::f32 || parameter.dtype() == x.dtype(), "layer_norm", "expected ", name,
        " in f32 or x's ", x.dtype(), ", got ", parameter.dtype());
  check(parameter.device() == x.device(), "layer_norm", "expected ", name, " on ", x.device(), ", got ",
        parameter.device());
}

/// All three gradients, since one pass over dy and x makes them all.
Grads layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd,
                          const Tensor& weight) {
  const Rows size = as_rows(x.shape());
  const std::int64_t blocks =
      x.device().is_cpu() ? kernels::cpu::column_sum_blocks(size.rows) : kernels::cuda::column_sum_blocks(size.rows);
  Tensor dx = empty_like(x);
  Tensor partial({blocks, 2, size.cols}, dtype::f32, x.device()), dparameters({2, size.cols}, dtype::f32, x.device());
  dispatch_float(x.dtype(), "layer_norm", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    float *parts = partial.mutable_data<float>(), *sums = dparameters.mutable_data<float>();
    on_device(
        x.device(), "layer_norm",
        [&] {
          kernels::cpu::layer_norm_backward(out, parts, dy.data<T>(), x.data<T>(), mean.data<float>(),
                                            rstd.data<float>(), weight.data<float>(), size.rows, size.cols);
          kernels::cpu::sum(sums, parts, 1, blocks, 2 * size.cols);
        },
        [&](auto stream) {
          kernels::cuda::layer_norm_backward(out, parts, dy.data<T>(), x.data<T>(), mean.data<float>(),
                                             rstd.data<float>(), weight.data<float>(), size.rows, size.cols, stream);
          kernels::cuda::sum(sums, parts, 1, blocks, 2 * size.cols, stream);
        });
  });
  return Grads{dx, dparameters.view(0, {size.cols}), dparameters.view(size.cols, {size.cols})};
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  check_float(x, "layer_norm", Kernels::cpu_and_cuda);
  check(x.rank() >= 1, "layer_norm", "expected rank >= 1, got shape ", x.shape());
  check(eps >= 0, "layer_norm", "expected eps >= 0, got ", eps);
  check_parameter(x, weight, "weight");
  check_parameter(x, bias, "bias");
  const Rows size = as_rows(x.shape());
  const Tensor w = to(weight, dtype::f32), b = to(bias, dtype::f32);
  Tensor y = empty_like(x);
  Tensor mean({size.rows}, dtype::f32, x.device()), rstd = empty_like(mean);
  dispatch_float(x.dtype(), "layer_norm", [&]<class T>() {
    T* out = y.mutable_data<T>();
    float *m = mean.mutable_data<float>(), *s = rstd.mutable_data<float>();
    on_device(
        x.device(), "layer_norm",
        [&] {
          kernels::cpu::layer_norm_forward(out, m, s, x.data<T>(), w.data<float>(), b.data<float>(), eps, size.rows,
                                           size.cols);
        },
        [&](auto stream) {
          kernels::cuda::layer_norm_forward(out, m, s, x.data<T>(), w.data<float>(), b.data<float>(), eps, size.rows,
                                            size.cols, stream);
        });
  });
  return record("layer_norm", y, {x, w, b},
                [x, w, mean, rstd](const Tensor& dy) { return layer_norm_backward(dy, x, mean, rstd, w); });
}

}  // namespace clip
