#include "clip/ops/permute.hpp"

#include <array>
#include <utility>

#include "clip/autograd.hpp"
#include "kernels/permute.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

using Order = std::array<int, Shape::max_rank>;

Tensor permuted(const Tensor& x, const Order& order) {
  check_tensor(x, "permute", Kernels::cpu_and_cuda);
  std::array<std::int64_t, Shape::max_rank> extents{}, from{};
  const auto rank = static_cast<std::size_t>(x.rank());
  for (std::size_t d = 0; d < rank; ++d) {
    extents[d] = x.shape(order[d]);
    from[d] = x.shape(static_cast<int>(d));
  }
  Tensor y(Shape(std::span(extents.data(), rank)), x.dtype(), x.device());
  void* out = y.mutable_raw();
  const std::size_t size = size_of(x.dtype());
  on_device(
      x.device(), "permute", [&] { kernels::cpu::permute(out, x.raw(), size, x.rank(), from, order); },
      [&](auto stream) { kernels::cuda::permute(out, x.raw(), size, x.rank(), from, order, stream); });
  return record("permute", y, {x}, [order, rank](const Tensor& dy) {
    Order inverse{};
    for (std::size_t d = 0; d < rank; ++d) inverse[static_cast<std::size_t>(order[d])] = static_cast<int>(d);
    return Grads{permuted(dy, inverse)};
  });
}

}  // namespace

Tensor permute(const Tensor& x, std::initializer_list<int> order) {
  Order dims{};
  std::array<bool, Shape::max_rank> seen{};
  check(static_cast<int>(order.size()) == x.rank(), "permute", "expected ", x.rank(), " dimensions for shape ",
        x.shape(), ", got ", order.size());
  std::size_t d = 0;
  for (const int dim : order) {
    dims[d] = x.shape().index(dim, "permute");
    check(!std::exchange(seen[static_cast<std::size_t>(dims[d++])], true), "permute",
          "expected each dimension once, got ", dim, " twice");
  }
  return permuted(x, dims);
}

Tensor transpose(const Tensor& x, int dim0, int dim1) {
  Order dims{};
  for (int d = 0; d < x.rank(); ++d) dims[static_cast<std::size_t>(d)] = d;
  std::swap(dims[static_cast<std::size_t>(x.shape().index(dim0, "transpose"))],
            dims[static_cast<std::size_t>(x.shape().index(dim1, "transpose"))]);
  return permuted(x, dims);
}

}  // namespace clip
