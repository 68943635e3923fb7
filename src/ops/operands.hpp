#pragma once
#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/tensor.hpp"
#include "kernels/matmul.hpp"
#include "kernels/packed_weights.hpp"

namespace clip {

/// Throws unless `t`, called `what`, is undefined or has the shape given and the dtype and device of `x`.
inline void check_operand(const char* op, const char* what, const Tensor& t, const Shape& shape, const Tensor& x) {
  if (!t.defined()) return;
  check(t.shape() == shape, op, "expected ", what, ' ', shape, ", got ", t.shape());
  check(t.dtype() == x.dtype(), op, "expected ", what, " in ", x.dtype(), ", got ", t.dtype());
  check(t.device() == x.device(), op, "expected ", what, " on ", x.device(), ", got one on ", t.device());
}

/// x [.., cols] as [rows, cols].
inline Tensor flat(const Tensor& x) { return x.view(0, {split_at(x.shape(), x.rank() - 1).outer, x.shape(-1)}); }

/// The output of an op that starts from `residual`: the residual's own memory where nobody else can see it, a copy of
/// it otherwise; uninitialised where there is none.
inline Tensor output_from(Tensor residual, const Shape& shape, const Tensor& x) {
  if (!residual.defined()) return Tensor(shape, x.dtype(), x.device());
  const bool sole_owner = !residual.needs_grad() && residual.storage().use_count() == 1;
  return sole_owner ? std::move(residual) : residual.clone();
}

/// The packed copies kept beside the weights, or null where packing would not pay: weights in training change at every
/// step.
inline std::shared_ptr<kernels::cpu::PackedWeights> packed_copies(const Tensor& w) {
  if (!w.device().is_cpu() || recording(w)) return nullptr;
  return std::static_pointer_cast<kernels::cpu::PackedWeights>(w.storage()->derived(kernels::cpu::make_packed_weights));
}

/// The products that the context of a GPU has planned.
inline kernels::cuda::MatmulPlans& matmul_plans(const Device& device) {
  return *static_cast<kernels::cuda::MatmulPlans*>(device.kept(kernels::cuda::make_matmul_plans));
}

}  // namespace clip
