#include "clip/ops/gather.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/gather.hpp"
#include "src/dispatch.hpp"
#include "src/ops/indices.hpp"

namespace clip {
namespace {

Tensor gather_backward(const Tensor& dy, const Tensor& index, const Shape& x, const kernels::GatherShape& shape) {
  Tensor dx(x, dtype::f32, dy.device());
  float* out = dx.mutable_data<float>();
  dispatch_float(dy.dtype(), "gather", [&]<class T>() {
    dispatch_index(index.dtype(), "gather", [&]<class I>() {
      on_device(
          dy.device(), "gather", [&] { kernels::cpu::gather_backward(out, dy.data<T>(), index.data<I>(), shape); },
          [&](auto stream) { kernels::cuda::gather_backward(out, dy.data<T>(), index.data<I>(), shape, stream); });
    });
  });
  return to(dx, dy.dtype());
}

}  // namespace

Tensor gather(const Tensor& x, int dim, const Tensor& index) {
  check_tensor(x, "gather", Kernels::cpu_and_cuda);
  check_tensor(index, "gather", Kernels::cpu_and_cuda);
  const int d = x.shape().index(dim, "gather");
  check(index.rank() == x.rank() && index.shape().with(d, 0) == x.shape().with(d, 0), "gather",
        "expected an index of the shape ", x.shape(), " but in dimension ", dim, ", got ", index.shape());
  check(!recording(x) || x.dtype() != dtype::f16, "gather", "expected f32 or bf16 where a gradient is needed, got f16");
  const Tensor checked = checked_indices(index, x.shape(d), x.device(), "gather", "indices");
  const DimSplit split = split_at(x.shape(), d);
  const kernels::GatherShape shape{.outer = split.outer, .n = split.extent, .m = index.shape(d), .inner = split.inner};
  Tensor y(index.shape(), x.dtype(), x.device());
  void* out = y.mutable_raw();
  dispatch_index(index.dtype(), "gather", [&]<class I>() {
    const std::size_t size = size_of(x.dtype());
    on_device(
        x.device(), "gather", [&] { kernels::cpu::gather_forward(out, x.raw(), checked.data<I>(), size, shape); },
        [&](auto stream) { kernels::cuda::gather_forward(out, x.raw(), checked.data<I>(), size, shape, stream); });
  });
  return record("gather", y, {x, index}, [checked, from = x.shape(), shape](const Tensor& dy) {
    return Grads{gather_backward(dy, checked, from, shape), Tensor()};
  });
}

}  // namespace clip
