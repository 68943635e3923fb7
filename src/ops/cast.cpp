#include "clip/ops/cast.hpp"

#include "clip/autograd.hpp"
#include "kernels/cast.hpp"
#include "src/dispatch.hpp"

namespace clip {

Tensor to(const Tensor& x, dtype type) {
  if (x.dtype() == type) return x;
  check_tensor(x, "to", Kernels::cpu_and_cuda);
  check(!recording(x) || is_floating(type), "to", "expected a floating dtype for a tensor that needs a gradient, got ",
        type, ": detach it first");
  Tensor y(x.shape(), type, x.device());
  void* out = y.mutable_raw();
  on_device(
      x.device(), "to", [&] { kernels::cpu::cast(out, type, x.raw(), x.dtype(), x.numel()); },
      [&](auto stream) { kernels::cuda::cast(out, type, x.raw(), x.dtype(), x.numel(), stream); });
  return record("to", y, {x}, [from = x.dtype()](const Tensor& dy) { return Grads{to(dy, from)}; });
}

Tensor to(const Tensor& x, const Device& device) {
  if (x.device() == device) return x;
  Tensor y(x.shape(), x.dtype(), device);
  y.copy_from(x);
  return record("to", y, {x}, [from = x.device()](const Tensor& dy) { return Grads{to(dy, from)}; });
}

}  // namespace clip
