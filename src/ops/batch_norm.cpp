#include "clip/ops/batch_norm.hpp"

#include <tuple>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/batch_norm.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

constexpr const char* op = "batch_norm";

void check_channels(const Tensor& x, const Tensor& values, const char* name) {
  check(values.shape() == Shape{x.shape(-1)}, op, "expected ", name, ' ', Shape{x.shape(-1)}, " for x ", x.shape(),
        ", got ", values.shape());
  check(values.device() == x.device(), op, "expected ", name, " on ", x.device(), ", got ", values.device());
}

void check_parameter(const Tensor& x, const Tensor& parameter, const char* name) {
  check_channels(x, parameter, name);
  check(parameter.dtype() == dtype::f32 || parameter.dtype() == x.dtype(), op, "expected ", name, " in f32 or x's ",
        x.dtype(), ", got ", parameter.dtype());
}

void check_running(const Tensor& x, const Tensor& running, const char* name) {
  check_channels(x, running, name);
  check(running.dtype() == dtype::f32, op, "expected ", name, " in f32, got ", running.dtype());
  check(!running.needs_grad(), op, "expected ", name, " without requires_grad(), got one that needs a gradient");
}

Tensor scratch(std::int64_t rows, std::int64_t cols, const Device& device) {
  std::int64_t blocks = 0;
  on_device(
      device, op, [&] { blocks = kernels::cpu::batch_norm_blocks(rows); },
      [&](auto) { blocks = kernels::cuda::batch_norm_blocks(rows, cols); });
  return Tensor({blocks, 2, cols}, dtype::f32, device);
}

/// Mean and biased variance of x's channels; moves the running ones towards them.
std::pair<Tensor, Tensor> batch_statistics(const Tensor& x, Tensor& running_mean, Tensor& running_var, float momentum) {
  const Rows size = as_rows(x.shape());
  Tensor mean({size.cols}, dtype::f32, x.device()), variance = empty_like(mean);
  Tensor partial = scratch(size.rows, size.cols, x.device());
  float *m = mean.mutable_data<float>(), *v = variance.mutable_data<float>(), *parts = partial.mutable_data<float>();
  float *running_m = running_mean.mutable_data<float>(), *running_v = running_var.mutable_data<float>();
  dispatch_float(x.dtype(), op, [&]<class T>() {
    const T* in = x.data<T>();
    on_device(
        x.device(), op,
        [&] {
          kernels::cpu::batch_norm_statistics(m, v, parts, in, size.rows, size.cols);
          kernels::cpu::batch_norm_update(running_m, running_v, m, v, momentum, size.rows, size.cols);
        },
        [&](auto stream) {
          kernels::cuda::batch_norm_statistics(m, v, parts, in, size.rows, size.cols, stream);
          kernels::cuda::batch_norm_update(running_m, running_v, m, v, momentum, size.rows, size.cols, stream);
        });
  });
  return {mean, variance};
}

Grads batch_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd,
                          const Tensor& weight, bool training) {
  const Rows size = as_rows(x.shape());
  Tensor dx = x.needs_grad() ? empty_like(x) : Tensor(), partial = scratch(size.rows, size.cols, x.device());
  Tensor dparameters({2, size.cols}, dtype::f32, x.device());
  dispatch_float(x.dtype(), op, [&]<class T>() {
    const T *g = dy.data<T>(), *in = x.data<T>();
    T* out = dx.defined() ? dx.mutable_data<T>() : nullptr;
    float *sums = dparameters.mutable_data<float>(), *parts = partial.mutable_data<float>();
    const float *m = mean.data<float>(), *s = rstd.data<float>(), *w = weight.data<float>();
    const float* own = training ? sums : nullptr;
    on_device(
        x.device(), op,
        [&] {
          kernels::cpu::batch_norm_parameter_gradients(sums, parts, g, in, m, s, size.rows, size.cols);
          if (out != nullptr) kernels::cpu::batch_norm_backward(out, g, in, m, s, w, own, size.rows, size.cols);
        },
        [&](auto stream) {
          kernels::cuda::batch_norm_parameter_gradients(sums, parts, g, in, m, s, size.rows, size.cols, stream);
          if (out != nullptr)
            kernels::cuda::batch_norm_backward(out, g, in, m, s, w, own, size.rows, size.cols, stream);
        });
  });
  return Grads{dx, dparameters.view(0, {size.cols}), dparameters.view(size.cols, {size.cols}), Tensor()};
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& running_mean, Tensor& running_var,
                  BatchNormOptions options) {
  check_float(x, op, Kernels::cpu_and_cuda);
  check(x.rank() >= 1, op, "expected rank >= 1, got shape ", x.shape());
  check(options.eps >= 0, op, "expected eps >= 0, got ", options.eps);
  check(options.momentum >= 0 && options.momentum <= 1, op, "expected a momentum in [0, 1], got ", options.momentum);
  check_parameter(x, weight, "weight");
  check_parameter(x, bias, "bias");
  check_running(x, running_mean, "running_mean");
  check_running(x, running_var, "running_var");
  const Rows size = as_rows(x.shape());
  check(!options.training || size.rows >= 2, op, "expected more than one value per channel when training, got shape ",
        x.shape());
  const Tensor w = to(weight, dtype::f32), b = to(bias, dtype::f32);
  Tensor mean = running_mean, variance = running_var;
  if (options.training) std::tie(mean, variance) = batch_statistics(x, running_mean, running_var, options.momentum);
  Tensor y = empty_like(x), rstd({size.cols}, dtype::f32, x.device());
  dispatch_float(x.dtype(), op, [&]<class T>() {
    T* out = y.mutable_data<T>();
    float* s = rstd.mutable_data<float>();
    const float *m = mean.data<float>(), *v = variance.data<float>();
    const float *scales = w.data<float>(), *shifts = b.data<float>();
    const T* in = x.data<T>();
    on_device(
        x.device(), op,
        [&] {
          kernels::cpu::batch_norm_rstd(s, v, options.eps, size.cols);
          kernels::cpu::batch_norm_forward(out, in, m, s, scales, shifts, size.rows, size.cols);
        },
        [&](auto stream) {
          kernels::cuda::batch_norm_rstd(s, v, options.eps, size.cols, stream);
          kernels::cuda::batch_norm_forward(out, in, m, s, scales, shifts, size.rows, size.cols, stream);
        });
  });
  // the mean is an input too, so that backward notices when a running one was updated since
  return record(op, y, {x, w, b, mean}, [x, w, mean, rstd, training = options.training](const Tensor& dy) {
    return batch_norm_backward(dy, x, mean, rstd, w, training);
  });
}

}  // namespace clip
