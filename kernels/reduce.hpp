#pragma once
// Reductions of x [outer, n, inner] over its middle dimension, accumulated in f32.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// y[o, i] = sum over k of x[o, k, i]; y is f32 whatever T.
template <class T>
void sum(float* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner);

/// y[o, i] = max over k of x[o, k, i]; index[o, i] = the first k where it is reached. n >= 1. A NaN is the maximum.
template <class T>
void max(T* y, std::int64_t* index, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner);

/// dx[o, k, i] = dy[o, i] where k == index[o, i], else 0.
template <class T>
void max_backward(T* dx, const T* dy, const std::int64_t* index, std::int64_t outer, std::int64_t n,
                  std::int64_t inner);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void sum(float* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, Stream stream);
template <class T>
void max(T* y, std::int64_t* index, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, Stream stream);
template <class T>
void max_backward(T* dx, const T* dy, const std::int64_t* index, std::int64_t outer, std::int64_t n, std::int64_t inner,
                  Stream stream);

}  // namespace clip::kernels::cuda
