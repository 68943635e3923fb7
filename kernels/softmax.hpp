#pragma once
// Softmax and its logarithm along the rows of [rows, cols]. Statistics in f32; T = float or bf16, on the GPU
// also f16.
//   softmax      y = e^(x - m) / s          with m = max x, s = sum e^(x - m);   dx = y (dy - sum(y dy))
//   log_softmax  y = x - m - log s                                               dx = dy - e^y sum(dy)
// A row of -infinity only is NaN.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

template <class T>
void softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols);
template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols);

template <class T>
void log_softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols);
template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Stream stream);
template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols, Stream stream);

template <class T>
void log_softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Stream stream);
template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
