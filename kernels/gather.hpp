#pragma once
// Elements chosen along the middle dimension of x [outer, n, inner] by index [outer, m, inner], each within [0, n).
//   y[o, k, i] = x[o, index[o, k, i], i];   dx[o, j, i] = sum of dy[o, k, i] over the k with index[o, k, i] == j
// I = std::int32_t or std::int64_t.
#include <cstddef>
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

struct GatherShape {
  std::int64_t outer, n, m, inner;
};

namespace cpu {

/// Elements of 1, 2, 4 or 8 bytes, whatever their type.
template <class I>
void gather_forward(void* y, const void* x, const I* index, std::size_t element_size, const GatherShape& shape);

/// Adds in the order of k, in f32: dx is f32 whatever T (float or bf16, on the GPU also f16).
template <class T, class I>
void gather_backward(float* dx, const T* dy, const I* index, const GatherShape& shape);

}  // namespace cpu

namespace cuda {

/// The same.
template <class I>
void gather_forward(void* y, const void* x, const I* index, std::size_t element_size, const GatherShape& shape,
                    Stream stream);
template <class T, class I>
void gather_backward(float* dx, const T* dy, const I* index, const GatherShape& shape, Stream stream);

}  // namespace cuda
}  // namespace clip::kernels
