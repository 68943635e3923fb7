#include "clip/ops/reduce.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/view.hpp"
#include "kernels/arithmetic.hpp"
#include "kernels/reduce.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

using Mask = std::array<bool, Shape::max_rank>;  // which dimensions are reduced

Mask mask_of(const Shape& shape, std::initializer_list<int> dims, const char* op) {
  Mask mask{};
  for (const int dim : dims)
    check(!std::exchange(mask[static_cast<std::size_t>(shape.index(dim, op))], true), op,
          "expected each dimension once, got ", dim, " twice for shape ", shape);
  return mask;
}

Shape reduced(const Shape& shape, const Mask& mask, bool keep) {
  std::array<std::int64_t, Shape::max_rank> extents{};
  std::size_t rank = 0;
  for (int d = 0; d < shape.rank(); ++d) {
    const bool gone = mask[static_cast<std::size_t>(d)];
    if (!gone || keep) extents[rank++] = gone ? 1 : shape[d];
  }
  return Shape(std::span(extents.data(), rank));
}

/// x [outer, n, inner] summed over n into an f32 tensor of `shape`.
Tensor sum_middle(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, const Shape& shape) {
  Tensor y(shape, dtype::f32, x.device());
  float* out = y.mutable_data<float>();
  // one long sum: threads share its pieces, which do not depend on how many threads there are
  const std::int64_t piece = inner == 1 ? 8192 : std::max<std::int64_t>(64, n / 32);
  const std::int64_t pieces = outer == 1 && n * inner >= 32768 ? n / piece : 0, rest = n - pieces * piece;
  dispatch_float(x.dtype(), "sum", [&]<class T>() {
    const T* in = x.data<T>();
    if (pieces < 2)
      return on_device(
          x.device(), "sum", [&] { kernels::cpu::sum(out, in, outer, n, inner); },
          [&](auto stream) { kernels::cuda::sum(out, in, outer, n, inner, stream); });
    Tensor parts({pieces + 1, inner}, dtype::f32, x.device());
    float* part = parts.mutable_data<float>();
    on_device(
        x.device(), "sum",
        [&] {
          kernels::cpu::sum(part, in, pieces, piece, inner);
          kernels::cpu::sum(part + pieces * inner, in + pieces * piece * inner, 1, rest, inner);
          kernels::cpu::sum(out, part, 1, pieces + 1, inner);
        },
        [&](auto stream) {
          kernels::cuda::sum(part, in, pieces, piece, inner, stream);
          kernels::cuda::sum(part + pieces * inner, in + pieces * piece * inner, 1, rest, inner, stream);
          kernels::cuda::sum(out, part, 1, pieces + 1, inner, stream);
        });
  });
  return y;
}

/// Sum over the dimensions of `mask`, times `factor`, in x's dtype. Neighbouring dimensions are summed together.
Tensor sum_over(const Tensor& x, const Mask& mask, float factor, const Shape& shape) {
  Tensor y = x;
  for (int last = x.rank() - 1; last >= 0; --last) {
    if (!mask[static_cast<std::size_t>(last)]) continue;
    int first = last;
    std::int64_t n = x.shape(last), outer = 1, inner = 1;
    while (first > 0 && mask[static_cast<std::size_t>(first - 1)]) n *= x.shape(--first);
    for (int d = 0; d < first; ++d) outer *= x.shape(d);
    for (int d = last + 1; d < x.rank(); ++d) inner *= mask[static_cast<std::size_t>(d)] ? 1 : x.shape(d);
    y = sum_middle(y, outer, n, inner, {outer * inner});
    last = first;
  }
  if (factor != 1) {
    Tensor scaled(y.shape(), dtype::f32, y.device());
    const Tensor sums = to(y, dtype::f32);
    float* out = scaled.mutable_data<float>();
    on_device(
        x.device(), "mean", [&] { kernels::cpu::affine(out, sums.data<float>(), factor, 0, sums.numel()); },
        [&](auto stream) { kernels::cuda::affine(out, sums.data<float>(), factor, 0, sums.numel(), stream); });
    y = scaled;
  }
  if (y.storage() == x.storage()) y = x.clone();  // nothing was reduced, but only views share storage
  return to(y, x.dtype()).view(0, shape);
}

Tensor sum(const Tensor& x, const Mask& mask, float factor, bool keep, const char* op) {
  check_float(x, op, Kernels::cpu_and_cuda);
  const NoGrad guard;
  return sum_over(x, mask, factor, reduced(x.shape(), mask, keep));
}

Tensor recorded_sum(const Tensor& x, const Mask& mask, float factor, bool keep, const char* op) {
  return record(op, sum(x, mask, factor, keep, op), {x},
                [shape = x.shape(), kept = reduced(x.shape(), mask, true), factor](const Tensor& dy) {
                  return Grads{expand(scale(dy.view(0, kept), factor), shape)};
                });
}

float one_over_count(const Shape& shape, const Mask& mask) {
  std::int64_t count = 1;
  for (int d = 0; d < shape.rank(); ++d)
    if (mask[static_cast<std::size_t>(d)]) count *= shape[d];
  return 1.0f / static_cast<float>(count);
}

Mask all_dims(const Shape& shape) {
  Mask mask{};
  std::fill_n(mask.begin(), shape.rank(), true);
  return mask;
}

}  // namespace

Tensor sum(const Tensor& x) { return recorded_sum(x, all_dims(x.shape()), 1, false, "sum"); }

Tensor sum(const Tensor& x, std::initializer_list<int> dims, bool keep) {
  return recorded_sum(x, mask_of(x.shape(), dims, "sum"), 1, keep, "sum");
}

Tensor mean(const Tensor& x) {
  const Mask mask = all_dims(x.shape());
  return recorded_sum(x, mask, one_over_count(x.shape(), mask), false, "mean");
}

Tensor mean(const Tensor& x, std::initializer_list<int> dims, bool keep) {
  const Mask mask = mask_of(x.shape(), dims, "mean");
  return recorded_sum(x, mask, one_over_count(x.shape(), mask), keep, "mean");
}

namespace {

Tensor max_backward(const Tensor& dy, const Tensor& index, const Shape& shape, std::int64_t outer, std::int64_t n,
                    std::int64_t inner) {
  Tensor dx(shape, dy.dtype(), dy.device());
  dispatch_float(dy.dtype(), "max", [&]<class T>() {
    T* out = dx.mutable_data<T>();
    const std::int64_t* at = index.data<std::int64_t>();
    on_device(
        dy.device(), "max", [&] { kernels::cpu::max_backward(out, dy.data<T>(), at, outer, n, inner); },
        [&](auto stream) { kernels::cuda::max_backward(out, dy.data<T>(), at, outer, n, inner, stream); });
  });
  return dx;
}

}  // namespace

Tensor max(const Tensor& x, int dim, bool keep) {
  check_float(x, "max", Kernels::cpu_and_cuda);
  const int d = x.shape().index(dim, "max");
  const auto split = split_at(x.shape(), d);
  const std::int64_t outer = split.outer, n = split.extent, inner = split.inner;
  check(n > 0, "max", "expected a dimension that is not empty, got shape ", x.shape(), " and dimension ", dim);
  Tensor y(keep ? x.shape().with(d, 1) : x.shape().without(d), x.dtype(), x.device());
  Tensor index(y.shape(), dtype::i64, x.device());
  dispatch_float(x.dtype(), "max", [&]<class T>() {
    T* out = y.mutable_data<T>();
    std::int64_t* at = index.mutable_data<std::int64_t>();
    on_device(
        x.device(), "max", [&] { kernels::cpu::max(out, at, x.data<T>(), outer, n, inner); },
        [&](auto stream) { kernels::cuda::max(out, at, x.data<T>(), outer, n, inner, stream); });
  });
  return record("max", y, {x}, [index, shape = x.shape(), outer, n, inner](const Tensor& dy) {
    return Grads{max_backward(dy, index, shape, outer, n, inner)};
  });
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  Mask mask{};
  const int missing = x.rank() - shape.rank();
  check(missing >= 0, "sum_to", "expected a shape that broadcasts to ", x.shape(), ", got ", shape);
  for (int d = 0; d < x.rank(); ++d) {
    const std::int64_t extent = d < missing ? 1 : shape[d - missing];
    check(extent == 1 || extent == x.shape(d), "sum_to", "expected a shape that broadcasts to ", x.shape(), ", got ",
          shape);
    mask[static_cast<std::size_t>(d)] = extent == 1 && (d < missing || x.shape(d) != 1);
  }
  return reshape(recorded_sum(x, mask, 1, true, "sum_to"), shape);
}

}  // namespace clip
