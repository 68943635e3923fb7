#pragma once
// Layer normalisation along the rows of [rows, cols], statistics in f32; T = float or bf16, on the GPU also f16.
//   y  = n w + b            with n = (x - mean) rstd, rstd = 1 / sqrt(mean((x - mean)^2) + eps)
//   dx = rstd (g - mean(g) - n mean(g n))   with g = dy w;   dw = sum over rows of dy n,   db = sum over rows of dy
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/column_sums.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// Writes y, and mean and rstd of every row.
template <class T>
void layer_norm_forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
                        std::int64_t rows, std::int64_t cols);

/// Writes dx, and into partial [column_sum_blocks(rows), 2, cols] each block's share of dw and db.
template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void layer_norm_forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
                        std::int64_t rows, std::int64_t cols, Stream stream);

/// `partial` is [column_sum_blocks(rows), 2, cols], by this namespace's count.
template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
