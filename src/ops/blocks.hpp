#pragma once
#include "clip/core/tensor.hpp"
#include "kernels/concat.hpp"
#include "src/dispatch.hpp"

namespace clip {

/// Copies `count` entries along `dim` from `from`, starting at `from_begin`, into `to`, starting at `to_begin`. Shapes
/// must agree in all other dimensions.
inline void copy_block(Tensor& to, std::int64_t to_begin, const Tensor& from, std::int64_t from_begin,
                       std::int64_t count, int dim, const char* op) {
  const DimSplit split = split_at(to.shape(), dim);
  const std::int64_t outer = split.outer, inner = split.inner * static_cast<std::int64_t>(size_of(to.dtype()));
  const std::int64_t to_stride = to.shape(dim) * inner, from_stride = from.shape(dim) * inner;
  char* out = static_cast<char*>(to.mutable_raw()) + to_begin * inner;
  const char* in = static_cast<const char*>(from.raw()) + from_begin * inner;
  on_device(
      to.device(), op, [&] { kernels::cpu::copy_rows(out, to_stride, in, from_stride, count * inner, outer); },
      [&](auto stream) { kernels::cuda::copy_rows(out, to_stride, in, from_stride, count * inner, outer, stream); });
}

}  // namespace clip
