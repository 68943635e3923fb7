#include "clip/ops/cross_entropy.hpp"

#include "clip/autograd.hpp"
#include "kernels/cross_entropy.hpp"
#include "src/dispatch.hpp"
#include "src/ops/indices.hpp"

namespace clip {
namespace {

constexpr const char* name = "cross_entropy";

Tensor class_backward(const Tensor& dy, const Tensor& logits, const Tensor& classes, const Tensor& lse) {
  Tensor dx = empty_like(logits);
  const Rows size = as_rows(logits.shape());
  dispatch_float(logits.dtype(), name, [&]<class T>() {
    dispatch_index(classes.dtype(), name, [&]<class I>() {
      T* out = dx.mutable_data<T>();
      on_device(
          logits.device(), name,
          [&] {
            kernels::cpu::cross_entropy_backward(out, dy.data<T>(), logits.data<T>(), classes.data<I>(),
                                                 lse.data<float>(), size.rows, size.cols);
          },
          [&](auto stream) {
            kernels::cuda::cross_entropy_backward(out, dy.data<T>(), logits.data<T>(), classes.data<I>(),
                                                  lse.data<float>(), size.rows, size.cols, stream);
          });
    });
  });
  return dx;
}

Tensor soft_backward(const Tensor& dy, const Tensor& logits, const Tensor& targets, const Tensor& lse) {
  Tensor dx = empty_like(logits);
  const Rows size = as_rows(logits.shape());
  dispatch_float(logits.dtype(), name, [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(
        logits.device(), name,
        [&] {
          kernels::cpu::soft_cross_entropy_backward(out, dy.data<T>(), logits.data<T>(), targets.data<T>(),
                                                    lse.data<float>(), size.rows, size.cols);
        },
        [&](auto stream) {
          kernels::cuda::soft_cross_entropy_backward(out, dy.data<T>(), logits.data<T>(), targets.data<T>(),
                                                     lse.data<float>(), size.rows, size.cols, stream);
        });
  });
  return dx;
}

Tensor soft_targets_backward(const Tensor& dy, const Tensor& logits, const Tensor& lse) {
  Tensor dt = empty_like(logits);
  const Rows size = as_rows(logits.shape());
  dispatch_float(logits.dtype(), name, [&]<class T>() {
    T* out = dt.mutable_data<T>();
    on_device(
        logits.device(), name,
        [&] {
          kernels::cpu::soft_cross_entropy_targets_backward(out, dy.data<T>(), logits.data<T>(), lse.data<float>(),
                                                            size.rows, size.cols);
        },
        [&](auto stream) {
          kernels::cuda::soft_cross_entropy_targets_backward(out, dy.data<T>(), logits.data<T>(), lse.data<float>(),
                                                             size.rows, size.cols, stream);
        });
  });
  return dt;
}

Tensor with_classes(const Tensor& logits, const Tensor& given) {
  const Rows size = as_rows(logits.shape());
  const Tensor classes = checked_indices(given, size.cols, logits.device(), name, "classes");
  Tensor y({}, logits.dtype(), logits.device());
  Tensor lse({size.rows}, dtype::f32, logits.device()), scratch = empty_like(lse);
  dispatch_float(logits.dtype(), name, [&]<class T>() {
    dispatch_index(classes.dtype(), name, [&]<class I>() {
      T* out = y.mutable_data<T>();
      float *sums = lse.mutable_data<float>(), *losses = scratch.mutable_data<float>();
      on_device(
          logits.device(), name,
          [&] {
            kernels::cpu::cross_entropy_forward(out, sums, logits.data<T>(), classes.data<I>(), size.rows, size.cols,
                                                losses);
          },
          [&](auto stream) {
            kernels::cuda::cross_entropy_forward(out, sums, logits.data<T>(), classes.data<I>(), size.rows, size.cols,
                                                 losses, stream);
          });
    });
  });
  return record(name, y, {logits, classes}, [logits, classes, lse](const Tensor& dy) {
    return Grads{class_backward(dy, logits, classes, lse), Tensor()};
  });
}

Tensor with_soft_targets(const Tensor& logits, const Tensor& targets) {
  check(targets.dtype() == logits.dtype(), name, "expected soft targets of the dtype of logits, ", logits.dtype(),
        ", got ", targets.dtype());
  check(targets.device() == logits.device(), name, "expected targets on ", logits.device(), ", got ", targets.device());
  const Rows size = as_rows(logits.shape());
  Tensor y({}, logits.dtype(), logits.device());
  Tensor lse({size.rows}, dtype::f32, logits.device()), scratch = empty_like(lse);
  dispatch_float(logits.dtype(), name, [&]<class T>() {
    T* out = y.mutable_data<T>();
    float *sums = lse.mutable_data<float>(), *losses = scratch.mutable_data<float>();
    on_device(
        logits.device(), name,
        [&] {
          kernels::cpu::soft_cross_entropy_forward(out, sums, logits.data<T>(), targets.data<T>(), size.rows, size.cols,
                                                   losses);
        },
        [&](auto stream) {
          kernels::cuda::soft_cross_entropy_forward(out, sums, logits.data<T>(), targets.data<T>(), size.rows,
                                                    size.cols, losses, stream);
        });
  });
  return record(name, y, {logits, targets}, [logits, targets, lse](const Tensor& dy) {
    return Grads{logits.needs_grad() ? soft_backward(dy, logits, targets, lse) : Tensor(),
                 targets.needs_grad() ? soft_targets_backward(dy, logits, lse) : Tensor()};
  });
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& targets) {
  check(logits.rank() == 1 || logits.rank() == 2, name, "expected logits [N, C] or [C], got shape ", logits.shape());
  check(logits.numel() > 0, name, "expected at least one row and one class, got logits ", logits.shape());
  const Shape classes = logits.shape().without(-1);
  if (targets.shape() == classes) return with_classes(logits, targets);
  check(targets.shape() == logits.shape(), name, "expected targets ", classes, " or ", logits.shape(), ", got ",
        targets.shape());
  return with_soft_targets(logits, targets);
}

}  // namespace clip
