#pragma once
// Rows of [rows, cols] divided by their Euclidean norms, in f32; T = float or bf16, on the GPU also f16.
//   y = x / max(|x|, eps);   dx = (dy - y (y . dy)) / |x| where |x| >= eps, else dy / eps
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// `norm` [rows] keeps |x| for backward.
template <class T>
void l2_normalize_forward(T* y, float* norm, const T* x, float eps, std::int64_t rows, std::int64_t cols);
/// Takes y anew from x: where T is bf16, y has been rounded.
template <class T>
void l2_normalize_backward(T* dx, const T* dy, const T* x, const float* norm, float eps, std::int64_t rows,
                           std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void l2_normalize_forward(T* y, float* norm, const T* x, float eps, std::int64_t rows, std::int64_t cols,
                          Stream stream);
template <class T>
void l2_normalize_backward(T* dx, const T* dy, const T* x, const float* norm, float eps, std::int64_t rows,
                           std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
