#pragma once
// A projection head: h = x W1^T + b1, y = gelu(h) W2^T + b2, z = dropout(y) + h, out = LayerNorm(z). The kernels
// between and after its two matrix products, and on the GPU whole ones. Rows of [rows, cols]; T = float or bf16, on the
// GPU also f16; statistics in f32. The dropout mask is that of dropout.hpp, computed again for the backward pass; p = 0
// keeps everything.
#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/column_sums.hpp"
#include "kernels/dropout.hpp"

namespace clip::kernels {

/// Where the sums of all blocks go, each [cols]: those of dout n, dout and dy, and of dh.
template <class T>
struct HeadTotals {
  float *norm, *norm_bias;
  T *fc_bias, *projection_bias;
};

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// Replaces y by z and writes out, and mean and rstd of every row of z.
template <class T>
void head_tail_forward(T* out, T* y, float* mean, float* rstd, const T* h, const float* weight, const float* bias,
                       float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t cols);

/// From dout: dz, which is also what the residual passes to h; dy = dropout's gradient of it; and into partial
/// [column_sum_blocks(rows), 3, cols] each block's share of the sums over rows of dout n, dout and dy, n = (z - mean)
/// rstd. Without dropout dy may be dz.
template <class T>
void head_tail_backward(T* dz, T* dy, float* partial, const T* dout, const T* z, const float* mean, const float* rstd,
                        const float* weight, const DropoutMask& mask, std::int64_t rows, std::int64_t cols);

/// dh += dg gelu'(h), and into partial [column_sum_blocks(rows), cols] each block's share of the sum over rows of dh.
template <class T>
void head_gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols);

/// Adds up over the blocks what `head_tail_backward` and `head_gelu_backward` left of each.
template <class T>
void head_totals(const HeadTotals<T>& totals, const float* tail_partial, const float* h_partial, std::int64_t blocks,
                 std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

template <class T>
void head_tail_forward(T* out, T* y, float* mean, float* rstd, const T* h, const float* weight, const float* bias,
                       float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t cols, Stream stream);

/// `partial` is [column_sum_blocks(rows), 3, cols], by this namespace's count.
template <class T>
void head_tail_backward(T* dz, T* dy, float* partial, const T* dout, const T* z, const float* mean, const float* rstd,
                        const float* weight, const DropoutMask& mask, std::int64_t rows, std::int64_t cols,
                        Stream stream);

/// `partial` is [column_sum_blocks(rows), cols], by this namespace's count.
template <class T>
void head_gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols,
                        Stream stream);

template <class T>
void head_totals(const HeadTotals<T>& totals, const float* tail_partial, const float* h_partial, std::int64_t blocks,
                 std::int64_t cols, Stream stream);

/// Whether `whole_head_forward` and `whole_head_backward` have kernels for a head [.., in] to [.., out] of such
/// elements, all arrays of which start at these addresses.
inline bool whole_head_fits(dtype type, std::int64_t in, std::int64_t out, std::initializer_list<const void*> arrays) {
  return (type == dtype::bf16 || type == dtype::f16) && in % 8 == 0 && out % 8 == 0 && out > 0 && out <= 512 &&
         std::ranges::all_of(arrays, [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

/// The learnt arrays of a head; biases and scales are [out].
template <class T>
struct HeadWeights {
  const T *projection, *projection_bias;  ///< [out, in], [out]
  const T *fc, *fc_bias;                  ///< [out, out], [out]
  const float *norm, *norm_bias;
};

/// A whole head: out, h and z [rows, cols], mean and rstd of each row of z. Where no backward pass follows z is null,
/// mean and rstd are not written, and h may be out. T = bf16 or f16.
template <class T>
void whole_head_forward(T* out, T* h, T* z, float* mean, float* rstd, const T* x, const HeadWeights<T>& weights,
                        float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t in, std::int64_t cols,
                        Stream stream);

/// The rows that `whole_head_backward` sums in a block of threads, and the number of blocks.
constexpr std::int64_t whole_head_rows(std::int64_t cols) { return cols <= 256 ? 64 : 32; }
constexpr std::int64_t whole_head_blocks(std::int64_t rows, std::int64_t cols) {
  return (rows + whole_head_rows(cols) - 1) / whole_head_rows(cols);
}

/// From dout, and h, z, mean and rstd of the forward pass: dh; dy and activated = gelu(h), of which the gradient of fc
/// is made; and each block's sums over rows as `head_tail_backward` and `head_gelu_backward` leave them, into
/// `tail_partial` [whole_head_blocks(rows, cols), 3, cols] and `h_partial` [.., cols].
template <class T>
void whole_head_backward(T* dh, T* dy, T* activated, float* tail_partial, float* h_partial, const T* dout, const T* h,
                         const T* z, const float* mean, const float* rstd, const float* norm, const T* fc,
                         const DropoutMask& mask, std::int64_t rows, std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
