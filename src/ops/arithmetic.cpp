#include "clip/ops/arithmetic.hpp"

#include <algorithm>

#include "clip/autograd.hpp"
#include "clip/ops/reduce.hpp"
#include "kernels/arithmetic.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

using kernels::Arithmetic;
using kernels::Broadcast;

/// Extent of dimension `d`, counted from the last one as 0; 1 where the shape has no such dimension.
std::int64_t extent_from_end(const Shape& shape, int d) { return d < shape.rank() ? shape[-1 - d] : 1; }

Shape broadcast_shape(const Shape& a, const Shape& b, const char* op) {
  std::array<std::int64_t, Shape::max_rank> extents{};
  const int rank = std::max(a.rank(), b.rank());
  for (int d = 0; d < rank; ++d) {
    const std::int64_t m = extent_from_end(a, d), n = extent_from_end(b, d);
    check(m == n || m == 1 || n == 1, op, "expected shapes that broadcast, got ", a, " and ", b);
    extents[static_cast<std::size_t>(rank - 1 - d)] = m == 1 ? n : m;
  }
  return Shape(std::span(extents.data(), static_cast<std::size_t>(rank)));
}

/// Strides for the kernel, with neighbouring dimensions merged where both operands allow.
Broadcast broadcast(const Shape& a, const Shape& b, const Shape& y) {
  Broadcast reversed;
  std::int64_t a_stride = 1, b_stride = 1;
  for (int d = 0; d < y.rank(); ++d) {
    const std::int64_t n = y[-1 - d], m = extent_from_end(a, d), k = extent_from_end(b, d);
    if (n == 1) continue;
    const std::int64_t sa = m == 1 ? 0 : a_stride, sb = k == 1 ? 0 : b_stride;
    a_stride *= m;
    b_stride *= k;
    const auto last = static_cast<std::size_t>(reversed.rank) - 1;
    if (reversed.rank > 0 && sa == reversed.a_stride[last] * reversed.extent[last] &&
        sb == reversed.b_stride[last] * reversed.extent[last]) {
      reversed.extent[last] *= n;
      continue;
    }
    const auto at = static_cast<std::size_t>(reversed.rank++);
    reversed.extent[at] = n;
    reversed.a_stride[at] = sa;
    reversed.b_stride[at] = sb;
  }
  const auto turn = [&](auto& values) { std::reverse(values.begin(), values.begin() + reversed.rank); };
  turn(reversed.extent);
  turn(reversed.a_stride);
  turn(reversed.b_stride);
  return reversed;
}

Tensor compute(Arithmetic op, const char* name, const Tensor& a, const Tensor& b) {
  check_tensor(a, name, Kernels::cpu_and_cuda);
  check_tensor(b, name, Kernels::cpu_and_cuda);
  check(a.dtype() == b.dtype(), name, "expected operands of one dtype, got ", a.dtype(), " and ", b.dtype());
  check(a.device() == b.device(), name, "expected operands on one device, got ", a.device(), " and ", b.device());
  check_float(a, name, Kernels::cpu_and_cuda);
  const bool same = a.shape() == b.shape();
  Tensor y(same ? a.shape() : broadcast_shape(a.shape(), b.shape(), name), a.dtype(), a.device());
  if (y.numel() == 0) return y;
  const Broadcast shape = same ? Broadcast{1, {a.numel()}, {1}, {1}} : broadcast(a.shape(), b.shape(), y.shape());
  dispatch_float(a.dtype(), name, [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        a.device(), name, [&] { kernels::cpu::arithmetic(op, out, a.data<T>(), b.data<T>(), shape); },
        [&](auto stream) { kernels::cuda::arithmetic(op, out, a.data<T>(), b.data<T>(), shape, stream); });
  });
  return y;
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  return record(
      "add", compute(Arithmetic::add, "add", a, b), {a, b},
      [a_needs = a.needs_grad(), b_needs = b.needs_grad(), a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy) {
        return Grads{a_needs ? sum_to(dy, a_shape) : Tensor(), b_needs ? sum_to(dy, b_shape) : Tensor()};
      });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  return record(
      "sub", compute(Arithmetic::sub, "sub", a, b), {a, b},
      [a_needs = a.needs_grad(), b_needs = b.needs_grad(), a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy) {
        return Grads{a_needs ? sum_to(dy, a_shape) : Tensor(), b_needs ? scale(sum_to(dy, b_shape), -1) : Tensor()};
      });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  const Tensor needed_a = b.needs_grad() ? a : Tensor(), needed_b = a.needs_grad() ? b : Tensor();
  return record("mul", compute(Arithmetic::mul, "mul", a, b), {a, b},
                [a = needed_a, b = needed_b, a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy) {
                  return Grads{b.defined() ? sum_to(mul(dy, b), a_shape) : Tensor(),
                               a.defined() ? sum_to(mul(dy, a), b_shape) : Tensor()};
                });
}

Tensor div(const Tensor& a, const Tensor& b) {
  const Tensor needed_a = b.needs_grad() ? a : Tensor();
  return record("div", compute(Arithmetic::div, "div", a, b), {a, b},
                [a = needed_a, b, a_needs = a.needs_grad(), a_shape = a.shape()](const Tensor& dy) {
                  const Tensor da = div(dy, b);
                  return Grads{a_needs ? sum_to(da, a_shape) : Tensor(),
                               a.defined() ? scale(sum_to(mul(da, div(a, b)), b.shape()), -1) : Tensor()};
                });
}

Tensor expand(const Tensor& x, const Shape& shape) {
  check_float(x, "expand", Kernels::cpu_and_cuda);
  if (x.shape() == shape) return x;
  check(broadcast_shape(x.shape(), shape, "expand") == shape, "expand", "expected a shape that ", x.shape(),
        " broadcasts to, got ", shape);
  Tensor y(shape, x.dtype(), x.device());
  const Tensor one = ones({}, x.dtype(), x.device());  // times 1, because plus 0 would change -0
  const Broadcast strides = broadcast(x.shape(), one.shape(), shape);
  if (y.numel() > 0)
    dispatch_float(x.dtype(), "expand", [&]<class T>() {
      T* out = y.mutable_data<T>();
      on_device(
          x.device(), "expand",
          [&] { kernels::cpu::arithmetic(Arithmetic::mul, out, x.data<T>(), one.data<T>(), strides); },
          [&](auto stream) {
            kernels::cuda::arithmetic(Arithmetic::mul, out, x.data<T>(), one.data<T>(), strides, stream);
          });
    });
  return record("expand", y, {x}, [from = x.shape()](const Tensor& dy) { return Grads{sum_to(dy, from)}; });
}

Tensor scale(const Tensor& x, float factor, float shift) {
  check_float(x, "scale", Kernels::cpu_and_cuda);
  Tensor y = empty_like(x);
  dispatch_float(x.dtype(), "scale", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), "scale", [&] { kernels::cpu::affine(out, x.data<T>(), factor, shift, x.numel()); },
        [&](auto stream) { kernels::cuda::affine(out, x.data<T>(), factor, shift, x.numel(), stream); });
  });
  return record("scale", y, {x}, [factor](const Tensor& dy) { return Grads{scale(dy, factor)}; });
}

Tensor exp(const Tensor& x) {
  check_float(x, "exp", Kernels::cpu_and_cuda);
  Tensor y = empty_like(x);
  dispatch_float(x.dtype(), "exp", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), "exp", [&] { kernels::cpu::exp(out, x.data<T>(), x.numel()); },
        [&](auto stream) { kernels::cuda::exp(out, x.data<T>(), x.numel(), stream); });
  });
  return record("exp", y, {x}, [y](const Tensor& dy) { return Grads{mul(dy, y)}; });
}

Tensor log(const Tensor& x) {
  check_float(x, "log", Kernels::cpu_and_cuda);
  Tensor y = empty_like(x);
  dispatch_float(x.dtype(), "log", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), "log", [&] { kernels::cpu::log(out, x.data<T>(), x.numel()); },
        [&](auto stream) { kernels::cuda::log(out, x.data<T>(), x.numel(), stream); });
  });
  return record("log", y, {x}, [x](const Tensor& dy) { return Grads{div(dy, x)}; });
}

}  // namespace clip
