#include "clip/ops/dropout.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "kernels/dropout.hpp"
#include "src/dispatch.hpp"
#include "src/ops/dropout_mask.hpp"

namespace clip {
namespace {

Tensor drop(const Tensor& x, const kernels::DropoutMask& mask, const char* op) {
  Tensor y = empty_like(x);
  dispatch_float(x.dtype(), op, [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), op, [&] { kernels::cpu::dropout(out, x.data<T>(), mask, x.numel()); },
        [&](auto stream) { kernels::cuda::dropout(out, x.data<T>(), mask, x.numel(), stream); });
  });
  return y;
}

void check_input(const Tensor& x, float p, const char* op) {
  check_float(x, op, Kernels::cpu_and_cuda);
  check(p >= 0 && p <= 1, op, "expected a probability p in [0, 1], got ", p);
}

}  // namespace

Tensor dropout(const Tensor& x, float p, Random& random) {
  check_input(x, p, "dropout");
  if (p == 0) return x;
  const kernels::DropoutMask mask = dropout_mask(p, random, x.numel(), x.device(), "dropout");
  return record("dropout", drop(x, mask, "dropout"), {x},
                [mask](const Tensor& dy) { return Grads{drop(dy, mask, "dropout")}; });
}

Tensor dropout_add(const Tensor& x, const Tensor& residual, float p, Random& random) {
  check_input(x, p, "dropout_add");
  check_tensor(residual, "dropout_add", Kernels::cpu_and_cuda);
  check(residual.shape() == x.shape() && residual.dtype() == x.dtype() && residual.device() == x.device(),
        "dropout_add", "expected a residual ", x.dtype(), ' ', x.shape(), " on ", x.device(), ", got ",
        residual.dtype(), ' ', residual.shape(), " on ", residual.device());
  if (p == 0) return add(x, residual);
  const kernels::DropoutMask mask = dropout_mask(p, random, x.numel(), x.device(), "dropout_add");
  Tensor y = empty_like(x);
  dispatch_float(x.dtype(), "dropout_add", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), "dropout_add",
        [&] { kernels::cpu::dropout_add(out, x.data<T>(), residual.data<T>(), mask, x.numel()); },
        [&](auto stream) {
          kernels::cuda::dropout_add(out, x.data<T>(), residual.data<T>(), mask, x.numel(), stream);
        });
  });
  return record("dropout_add", y, {x, residual}, [mask, needed = x.needs_grad()](const Tensor& dy) {
    return Grads{needed ? drop(dy, mask, "dropout_add") : Tensor(), dy};
  });
}

}  // namespace clip
