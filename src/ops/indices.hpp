#pragma once
#include "clip/core/tensor.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/indices.hpp"
#include "src/dispatch.hpp"

namespace clip {

/// The coordinates of element `position` of a tensor of `shape`, as `[1, 5]`.
inline std::string coordinates(const Shape& shape, std::int64_t position) {
  std::string text = "]";
  for (int d = shape.rank() - 1; d >= 0; --d) {
    text.insert(0, (d > 0 ? ", " : "") + std::to_string(position % shape[d]));
    position /= shape[d];
  }
  return "[" + text;
}

/// Throws unless `indices` are i32 or i64 within [0, limit) and on `device`; names the first that is outside. `what`
/// they are: "ids", "classes", … Indices on a GPU are copied to the CPU for this, which waits for them.
inline void check_indices(const Tensor& indices, std::int64_t limit, const Device& device, const char* op,
                          const char* what) {
  check(indices.device() == device, op, "expected ", what, " on ", device, ", got ", indices.device());
  dispatch_index(indices.dtype(), op, [&]<class I>() {
    const Tensor here = to(indices, Device::cpu());
    const I* values = here.data<I>();
    const std::int64_t bad = kernels::cpu::first_outside(values, indices.numel(), limit);
    if (bad != indices.numel())
      fail(op, "expected ", what, " within [0, ", limit, "), got ", values[bad], " at ",
           coordinates(indices.shape(), bad));
  });
}

}  // namespace clip
