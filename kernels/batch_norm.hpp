#pragma once
// Batch normalisation of the columns (channels) of x [rows, cols], statistics in f32; T = float or bf16, on the GPU
// also f16.
//   y  = n w + b     with n = (x - mean) rstd, rstd = 1 / sqrt(var + eps), var the biased variance over the rows
//   dw = sum over rows of dy n,   db = sum over rows of dy
//   dx = w rstd (dy - (db + n dw) / rows), or dx = w rstd dy where mean and var are running ones, not x's own
#include <algorithm>
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// Columns are summed over this many blocks of rows, whatever the number of threads, so that sums do not depend on it.
constexpr std::int64_t batch_norm_blocks(std::int64_t rows) {
  return rows >= 64 * 64 ? 64 : rows > 64 ? (rows + 63) / 64 : 1;
}

/// Mean and biased variance of every column. Scratch `partial` is [batch_norm_blocks(rows), 2, cols]. rows >= 1.
template <class T>
void batch_norm_statistics(float* mean, float* variance, float* partial, const T* x, std::int64_t rows,
                           std::int64_t cols);

/// running = (1 - momentum) running + momentum (statistics of this batch, whose variance is made unbiased). rows >= 2.
void batch_norm_update(float* running_mean, float* running_variance, const float* mean, const float* variance,
                       float momentum, std::int64_t rows, std::int64_t cols);

/// rstd = 1 / sqrt(variance + eps)
void batch_norm_rstd(float* rstd, const float* variance, float eps, std::int64_t cols);

template <class T>
void batch_norm_forward(T* y, const T* x, const float* mean, const float* rstd, const float* weight, const float* bias,
                        std::int64_t rows, std::int64_t cols);

/// dw and db, one after the other in dparameters [2, cols]. Scratch `partial` as above.
template <class T>
void batch_norm_parameter_gradients(float* dparameters, float* partial, const T* dy, const T* x, const float* mean,
                                    const float* rstd, std::int64_t rows, std::int64_t cols);

/// dx; from `dparameters` when the statistics were x's own, null when they were running ones.
template <class T>
void batch_norm_backward(T* dx, const T* dy, const T* x, const float* mean, const float* rstd, const float* weight,
                         const float* dparameters, std::int64_t rows, std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// Blocks of rows: so many that with the blocks of columns there are about a thousand for a GPU to share.
constexpr std::int64_t batch_norm_blocks(std::int64_t rows, std::int64_t cols) {
  const std::int64_t wanted = std::clamp<std::int64_t>((1 << 18) / std::max<std::int64_t>(cols, 1), 32, 1056);
  return std::clamp<std::int64_t>((rows + 31) / 32, 1, wanted);
}

/// These do as those for the CPU; scratch `partial` is [batch_norm_blocks(rows, cols), 2, cols].
template <class T>
void batch_norm_statistics(float* mean, float* variance, float* partial, const T* x, std::int64_t rows,
                           std::int64_t cols, Stream stream);
void batch_norm_update(float* running_mean, float* running_variance, const float* mean, const float* variance,
                       float momentum, std::int64_t rows, std::int64_t cols, Stream stream);
void batch_norm_rstd(float* rstd, const float* variance, float eps, std::int64_t cols, Stream stream);
template <class T>
void batch_norm_forward(T* y, const T* x, const float* mean, const float* rstd, const float* weight, const float* bias,
                        std::int64_t rows, std::int64_t cols, Stream stream);
template <class T>
void batch_norm_parameter_gradients(float* dparameters, float* partial, const T* dy, const T* x, const float* mean,
                                    const float* rstd, std::int64_t rows, std::int64_t cols, Stream stream);
template <class T>
void batch_norm_backward(T* dx, const T* dy, const T* x, const float* mean, const float* rstd, const float* weight,
                         const float* dparameters, std::int64_t rows, std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
