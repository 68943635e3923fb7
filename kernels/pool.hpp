#pragma once
// Maximum over windows of x [images, height, width, channels]. Padding counts as -infinity; a NaN is the maximum.
// T = float or bf16, on the GPU also f16.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

/// Output (oh, ow) is the maximum over rows oh stride - padding + [0, kernel) and the same columns.
struct PoolShape {
  std::int64_t images, height, width, channels, kernel, stride, padding, out_height, out_width;

  struct Range {
    std::int64_t begin, end;
  };
  /// Positions, of `extent` rows or columns, that window `out` covers.
  constexpr Range covered(std::int64_t out, std::int64_t extent) const {
    const std::int64_t first = out * stride - padding, end = first + kernel;
    return {first < 0 ? 0 : first, end < extent ? end : extent};
  }
  /// Windows, of `count`, that cover position `at`.
  constexpr Range covering(std::int64_t at, std::int64_t count) const {
    const std::int64_t end = (at + padding) / stride + 1, before = at + padding - kernel;
    return {before < 0 ? 0 : before / stride + 1, end < count ? end : count};
  }
};

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// y [images, out_height, out_width, channels]; index, of the same shape, says where each came from, as row * width +
/// column, the first in window order among equals. Null when not wanted. Every window must overlap the image.
template <class T>
void max_pool2d_forward(T* y, std::int32_t* index, const T* x, const PoolShape& shape);

/// dx = sum of dy over the outputs that came from this element.
template <class T>
void max_pool2d_backward(T* dx, const T* dy, const std::int32_t* index, const PoolShape& shape);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void max_pool2d_forward(T* y, std::int32_t* index, const T* x, const PoolShape& shape, Stream stream);
template <class T>
void max_pool2d_backward(T* dx, const T* dy, const std::int32_t* index, const PoolShape& shape, Stream stream);

}  // namespace clip::kernels::cuda
