#pragma once
// Layer normalisation along the rows of [rows, cols], statistics in f32; T = float or bf16, on the GPU
// also f16.
//   y  = n w + b            with n = (x - mean) rstd, rstd = 1 / sqrt(mean((x - mean)^2) + eps)
//   dx = rstd (g - mean(g) - n mean(g n))   with g = dy w;   dw = sum over rows of dy n,   db = sum over rows of dy
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

/// Rows are summed for dw and db in this many blocks, whatever the number of threads, so that sums do not depend on it.
constexpr std::int64_t layer_norm_blocks(std::int64_t rows) {
  return rows >= 64 * 16 ? 64 : rows > 16 ? (rows + 15) / 16 : 1;
}

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// Writes y, and mean and rstd of every row.
template <class T>
void layer_norm_forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
                        std::int64_t rows, std::int64_t cols);

/// Writes dx, and into partial [layer_norm_blocks(rows), 2, cols] each block's share of dw and db.
template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// Rows are summed for dw and db in this many blocks of threads, whatever the GPU.
constexpr std::int64_t layer_norm_blocks(std::int64_t rows) { return rows > 8 * 1056 ? 1056 : (rows + 7) / 8; }

template <class T>
void layer_norm_forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
                        std::int64_t rows, std::int64_t cols, Stream stream);

/// `partial` is [layer_norm_blocks(rows), 2, cols], by this namespace's count.
template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
