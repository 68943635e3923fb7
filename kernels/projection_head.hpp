#pragma once
// The elementwise parts of a projection head, z = dropout(y) + h, out = LayerNorm(z), between its two matrix products
// h = x W1^T + b1 and y = gelu(h) W2^T + b2. Rows of [rows, cols]; T = float or bf16, on the GPU also f16;
// statistics in f32. The dropout
// mask is that of dropout.hpp, computed again for the backward pass; p = 0 keeps everything.
#include <cstdint>

#include "kernels/dropout.hpp"

namespace clip::kernels {

/// Rows are summed for the gradients of biases and scales in this many blocks, whatever the number of threads.
constexpr std::int64_t head_blocks(std::int64_t rows) {
  return rows >= 64 * 16 ? 64 : rows > 16 ? (rows + 15) / 16 : 1;
}

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// Replaces y by z and writes out, and mean and rstd of every row of z.
template <class T>
void head_tail_forward(T* out, T* y, float* mean, float* rstd, const T* h, const float* weight, const float* bias,
                       float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t cols);

/// From dout: dz, which is also what the residual passes to h; dy = dropout's gradient of it; and into partial
/// [head_blocks(rows), 3, cols] each block's share of the sums over rows of dout n, dout and dy, n = (z - mean) rstd.
/// Without dropout dy may be dz.
template <class T>
void head_tail_backward(T* dz, T* dy, float* partial, const T* dout, const T* z, const float* mean, const float* rstd,
                        const float* weight, const DropoutMask& mask, std::int64_t rows, std::int64_t cols);

/// dh += dg gelu'(h), and into partial [head_blocks(rows), cols] each block's share of the sum over rows of dh.
template <class T>
void head_gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// Rows are summed for the gradients of biases and scales in this many blocks of threads, whatever the GPU.
constexpr std::int64_t head_blocks(std::int64_t rows) { return rows > 8 * 1056 ? 1056 : (rows + 7) / 8; }

template <class T>
void head_tail_forward(T* out, T* y, float* mean, float* rstd, const T* h, const float* weight, const float* bias,
                       float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t cols, Stream stream);

/// `partial` is [head_blocks(rows), 3, cols], by this namespace's count.
template <class T>
void head_tail_backward(T* dz, T* dy, float* partial, const T* dout, const T* z, const float* mean, const float* rstd,
                        const float* weight, const DropoutMask& mask, std::int64_t rows, std::int64_t cols,
                        Stream stream);

/// `partial` is [head_blocks(rows), cols], by this namespace's count.
template <class T>
void head_gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols,
                        Stream stream);

}  // namespace clip::kernels::cuda
