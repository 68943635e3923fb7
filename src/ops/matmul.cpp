#include "clip/ops/matmul.hpp"

#include "clip/autograd.hpp"
#include "clip/ops/reduce.hpp"
#include "kernels/matmul.hpp"
#include "src/dispatch.hpp"
#include "src/ops/operands.hpp"

namespace clip {
namespace {

using kernels::MatmulShape;

/// Rows and columns of the matrices as the product sees them.
struct Matrix {
  std::int64_t rows, cols;
};
Matrix matrix(const Tensor& t, bool transposed) {
  return transposed ? Matrix{t.shape(-1), t.shape(-2)} : Matrix{t.shape(-2), t.shape(-1)};
}

Shape leading(const Shape& shape) { return Shape(std::span(shape.begin(), shape.end() - 2)); }

/// The product into [leading(..), M, N]; an operand of rank 2 is shared by all the other's matrices.
Tensor compute(const Tensor& a, const Tensor& b, MatmulOptions options) {
  const auto [m, k] = matrix(a, options.transpose_a);
  const std::int64_t n = matrix(b, options.transpose_b).cols;
  const Shape& larger = a.rank() >= b.rank() ? a.shape() : b.shape();
  Tensor y(larger.with(-2, m).with(-1, n), a.dtype(), a.device());
  MatmulShape shape{.batch = leading(larger).numel(),
                    .m = m,
                    .n = n,
                    .k = k,
                    .transpose_a = options.transpose_a,
                    .transpose_b = options.transpose_b,
                    .share_a = a.rank() < b.rank(),
                    .share_b = b.rank() < a.rank()};
  if (shape.share_b && !shape.transpose_a) {  // all of a's rows are those of one matrix
    shape.m *= shape.batch;
    shape.batch = 1;
  }
  dispatch_float(a.dtype(), "matmul", [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        a.device(), "matmul", [&] { kernels::cpu::matmul(out, a.data<T>(), b.data<T>(), shape); },
        [&](auto) { kernels::cuda::matmul(out, a.data<T>(), b.data<T>(), shape, {}, matmul_plans(a.device())); });
  });
  return y;
}

/// Of y = a b: dy b^T, itself transposed where a is.
Tensor gradient_a(const Tensor& dy, const Tensor& b, MatmulOptions options) {
  if (options.transpose_a) return compute(b, dy, {.transpose_a = options.transpose_b, .transpose_b = true});
  return compute(dy, b, {.transpose_b = !options.transpose_b});
}

/// Of y = a b: a^T dy, itself transposed where b is, and summed over the matrices that shared b.
Tensor gradient_b(const Tensor& dy, const Tensor& a, const Shape& b_shape, MatmulOptions options) {
  const auto product = [&](const Tensor& x, const Tensor& g) {
    if (options.transpose_b) return compute(g, x, {.transpose_a = true, .transpose_b = options.transpose_a});
    return compute(x, g, {.transpose_a = !options.transpose_a});
  };
  if (b_shape.rank() < a.rank() && !options.transpose_a) return product(flat(a), flat(dy));  // sums over all rows
  return sum_to(product(a, dy), b_shape);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options) {
  check_float(a, "matmul", Kernels::cpu_and_cuda);
  check_tensor(b, "matmul", Kernels::cpu_and_cuda);
  check(a.rank() >= 2 && b.rank() >= 2, "matmul", "expected operands of rank >= 2, got ", a.shape(), " x ", b.shape());
  check(a.dtype() == b.dtype(), "matmul", "expected operands of one dtype, got ", a.dtype(), " and ", b.dtype());
  check(a.device() == b.device(), "matmul", "expected operands on one device, got ", a.device(), " and ", b.device());
  check(b.rank() == 2 || leading(a.shape()) == leading(b.shape()), "matmul",
        "expected leading dimensions to agree, got ", a.shape(), " x ", b.shape());
  check(matrix(a, options.transpose_a).cols == matrix(b, options.transpose_b).rows, "matmul",
        "expected inner dimensions to agree, got ", a.shape(), options.transpose_a ? "^T x " : " x ", b.shape(),
        options.transpose_b ? "^T" : "");
  const Tensor needed_a = b.needs_grad() ? a : Tensor(), needed_b = a.needs_grad() ? b : Tensor();
  return record("matmul", compute(a, b, options), {a, b},
                [a = needed_a, b = needed_b, b_shape = b.shape(), options](const Tensor& dy) {
                  return Grads{b.defined() ? gradient_a(dy, b, options) : Tensor(),
                               a.defined() ? gradient_b(dy, a, b_shape, options) : Tensor()};
                });
}

}  // namespace clip
