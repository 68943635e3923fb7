#include "clip/ops/flip.hpp"

#include "clip/autograd.hpp"
#include "kernels/flip.hpp"
#include "src/dispatch.hpp"

namespace clip {

Tensor flip(const Tensor& x, int dim) {
  check_tensor(x, "flip", Kernels::cpu_and_cuda);
  const int along = x.shape().index(dim, "flip");
  std::int64_t outer = 1, bytes = static_cast<std::int64_t>(size_of(x.dtype()));
  for (int d = 0; d < along; ++d) outer *= x.shape(d);
  for (int d = along + 1; d < x.rank(); ++d) bytes *= x.shape(d);
  const std::int64_t extent = x.shape(along);
  Tensor y(x.shape(), x.dtype(), x.device());
  void* out = y.mutable_raw();
  on_device(
      x.device(), "flip", [&] { kernels::cpu::flip(out, x.raw(), outer, extent, bytes); },
      [&](auto stream) { kernels::cuda::flip(out, x.raw(), outer, extent, bytes, stream); });
  return record("flip", y, {x}, [along](const Tensor& dy) { return Grads{flip(dy, along)}; });
}

}  // namespace clip
