#pragma once
#include <string>

#include "clip/core/index_fault.hpp"
#include "clip/core/tensor.hpp"
#include "clip/ops/cast.hpp"
#include "kernels/indices.hpp"
#include "src/dispatch.hpp"

namespace clip {

/// What an error says that `indices` should be.
inline IndexCheck index_check(const char* op, const std::string& expected, const Tensor& indices) {
  IndexCheck check{op, {}, indices.shape()};
  expected.copy(check.expected.data(), check.expected.size() - 1);
  return check;
}

/// Indices that kernels may follow: i32 or i64 within [0, limit) and on `device`, or an error that names the first that
/// is outside; `what` they are: "ids", "classes", … On the CPU these are `indices`. On a GPU they are a copy with 0 for
/// what is outside: nothing waits for it, and the next wait throws the error.
inline Tensor checked_indices(const Tensor& indices, std::int64_t limit, const Device& device, const char* op,
                              const char* what) {
  check(indices.device() == device, op, "expected ", what, " on ", device, ", got ", indices.device());
  const std::string expected = std::string(what) + " within [0, " + std::to_string(limit) + ")";
  const IndexCheck wanted = index_check(op, expected, indices);
  const auto check_on_cpu = [&]<class I>(const Tensor& here) {
    const I* values = here.data<I>();
    const std::int64_t bad = kernels::cpu::first_outside(values, here.numel(), limit);
    if (bad != here.numel()) wanted.raise(bad, values[bad]);
    return indices;
  };
  return dispatch_index(indices.dtype(), op, [&]<class I>() {
    // without anything to follow there is nothing that 0 could name
    if (device.is_cpu() || limit == 0) return check_on_cpu.template operator()<I>(to(indices, Device::cpu()));
    Tensor checked = empty_like(indices);
    on_device(
        device, op, [] {},
        [&](auto stream) {
          kernels::cuda::check_indices(checked.mutable_data<I>(), indices.data<I>(), indices.numel(), limit, wanted,
                                       device.index_faults(), stream);
        });
    return checked;
  });
}

}  // namespace clip
