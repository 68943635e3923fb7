#include "clip/ops/linear.hpp"

#include <utility>

#include "clip/autograd.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/matmul.hpp"
#include "clip/ops/reduce.hpp"
#include "kernels/matmul.hpp"
#include "src/dispatch.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

Tensor compute(const Tensor& x, const Tensor& w, const Tensor& bias, Tensor residual, Activation f) {
  const std::int64_t out = w.shape(0);
  const kernels::MatmulShape shape{
      .m = split_at(x.shape(), x.rank() - 1).outer, .n = out, .k = w.shape(1), .transpose_b = true};
  const bool accumulate = residual.defined();
  Tensor y = output_from(std::move(residual), x.shape().with(-1, out), x);
  const auto packed = packed_copies(w);
  dispatch_float(x.dtype(), "linear", [&]<class T>() {
    T* sums = y.mutable_data<T>();
    const kernels::Epilogue<T> epilogue{bias.defined() ? bias.data<T>() : nullptr, accumulate, f};
    on_device(
        x.device(), "linear",
        [&] { kernels::cpu::matmul(sums, x.data<T>(), w.data<T>(), shape, epilogue, packed.get()); },
        [&](auto) {
          kernels::cuda::matmul(sums, x.data<T>(), w.data<T>(), shape, epilogue, matmul_plans(x.device()));
        });
  });
  return y;
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, LinearOptions options) {
  check_float(x, "linear", Kernels::cpu_and_cuda);
  check_tensor(w, "linear", Kernels::cpu_and_cuda);
  check(x.rank() >= 1, "linear", "expected x of rank >= 1, got shape ", x.shape());
  check(w.rank() == 2, "linear", "expected weights [out, in], got shape ", w.shape());
  check(x.shape(-1) == w.shape(1), "linear", "expected inner dimensions to agree, got ", x.shape(), " x ", w.shape(),
        "^T");
  check_operand("linear", "weights", w, w.shape(), x);
  check_operand("linear", "a bias", bias, {w.shape(0)}, x);
  check_operand("linear", "a residual", options.residual, x.shape().with(-1, w.shape(0)), x);
  if (!recording(x, w, bias, options.residual))
    return compute(x, w, bias, std::move(options.residual), options.activation);

  const Tensor needed_x = w.needs_grad() ? x : Tensor(), needed_w = x.needs_grad() ? w : Tensor();
  const Tensor y = record(
      "linear", compute(x, w, bias, options.residual, Activation::none), {x, w, bias, options.residual},
      [x = needed_x, w = needed_w, bias = bias.needs_grad(), out = w.shape(0), x_shape = x.shape()](const Tensor& dy) {
        return Grads{w.defined() ? matmul(flat(dy), w).view(0, x_shape) : Tensor(),
                     x.defined() ? matmul(flat(dy), flat(x), {.transpose_a = true}) : Tensor(),
                     bias ? sum_to(dy, {out}) : Tensor(), dy};
      });
  return activation(y, options.activation);
}

}  // namespace clip
