#include "clip/ops/view.hpp"

#include <array>

#include "clip/autograd.hpp"
#include "src/dispatch.hpp"
#include "src/ops/blocks.hpp"

namespace clip {

Tensor reshape(const Tensor& x, const Shape& shape) {
  check_tensor(x, "reshape", Kernels::cpu_and_cuda);
  check(shape.numel() == x.numel(), "reshape", "expected a shape of ", x.numel(), " elements as ", x.shape(),
        " has, got ", shape);
  return record("reshape", x.view(0, shape), {x},
                [from = x.shape()](const Tensor& dy) { return Grads{dy.view(0, from)}; });
}

Tensor reshape(const Tensor& x, std::initializer_list<std::int64_t> extents) {
  std::array<std::int64_t, Shape::max_rank> full{};
  check(extents.size() <= full.size(), "reshape", "expected at most ", full.size(), " dimensions, got ",
        extents.size());
  check_tensor(x, "reshape", Kernels::cpu_and_cuda);
  std::int64_t known = 1, *unknown = nullptr;
  std::size_t rank = 0;
  for (const std::int64_t extent : extents) {
    full[rank] = extent;
    if (extent == -1) {
      check(unknown == nullptr, "reshape", "expected at most one extent of -1, got another");
      unknown = &full[rank];
    } else {
      check(extent >= 0, "reshape", "expected extents >= 0 or one -1, got ", extent);
      check(!__builtin_mul_overflow(known, extent, &known), "reshape", "expected fewer than 2^63 elements, got more");
    }
    ++rank;
  }
  if (unknown != nullptr) {
    check(known > 0 && x.numel() % known == 0, "reshape", "expected extents that divide ", x.numel(), " elements, got ",
          known, " for ", x.shape());
    *unknown = x.numel() / known;
  }
  return reshape(x, Shape(std::span(full.data(), rank)));
}

namespace {

/// Zeros of `shape` with `dy` at [begin, begin + extent of dy) along `dim`.
Tensor slice_backward(const Tensor& dy, const Shape& shape, std::int64_t begin, int dim) {
  Tensor dx = zeros(shape, dy.dtype(), dy.device());
  copy_block(dx, begin, dy, 0, dy.shape(dim), dim, "slice");
  return dx;
}

}  // namespace

Tensor slice(const Tensor& x, std::int64_t begin, std::int64_t end, int dim) {
  check_tensor(x, "slice", Kernels::cpu_and_cuda);
  const int d = x.shape().index(dim, "slice");
  const std::int64_t extent = x.shape(d);
  const std::int64_t first = begin < 0 ? begin + extent : begin, last = end < 0 ? end + extent : end;
  check(0 <= first && first <= last && last <= extent, "slice", "expected bounds within 0 and ", extent, " of ",
        x.shape(), ", got [", begin, ", ", end, ") along dimension ", dim);
  const Shape shape = x.shape().with(d, last - first);
  Tensor y;
  if (d == 0) {
    y = x.view(first * (extent == 0 ? 0 : x.numel() / extent), shape);
  } else {
    y = Tensor(shape, x.dtype(), x.device());
    copy_block(y, 0, x, first, last - first, d, "slice");
  }
  return record("slice", y, {x},
                [from = x.shape(), first, d](const Tensor& dy) { return Grads{slice_backward(dy, from, first, d)}; });
}

}  // namespace clip
