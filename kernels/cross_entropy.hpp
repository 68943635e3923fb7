#pragma once
// Cross-entropy of the rows of logits x [rows, cols] with class indices or soft targets t [rows, cols], averaged over
// the rows (rows >= 1). Statistics in f32; T = float or bf16, on the GPU also f16; I = std::int32_t or std::int64_t,
// each within [0, cols).
//   lse = max x + log sum e^(x - max x)            kept for backward, which takes the probabilities anew from it
//   mean = 1/rows sum_r sum_c t (lse - x)          a term whose t is 0 is 0, whatever x
//   dx = (e^(x - lse) sum_c t - t) dmean / rows;   dt = (lse - x) dmean / rows
// A class index stands for a row t that is 1 there and else 0.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cpu {

/// `mean` is one element, `lse` has one for each row, and so has `scratch`.
template <class T, class I>
void cross_entropy_forward(T* mean, float* lse, const T* x, const I* classes, std::int64_t rows, std::int64_t cols,
                           float* scratch);
template <class T>
void soft_cross_entropy_forward(T* mean, float* lse, const T* x, const T* t, std::int64_t rows, std::int64_t cols,
                                float* scratch);

template <class T, class I>
void cross_entropy_backward(T* dx, const T* dmean, const T* x, const I* classes, const float* lse, std::int64_t rows,
                            std::int64_t cols);
template <class T>
void soft_cross_entropy_backward(T* dx, const T* dmean, const T* x, const T* t, const float* lse, std::int64_t rows,
                                 std::int64_t cols);
/// The gradient with respect to the soft targets.
template <class T>
void soft_cross_entropy_targets_backward(T* dt, const T* dmean, const T* x, const float* lse, std::int64_t rows,
                                         std::int64_t cols);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// `mean` is one element, `lse` has one for each row, and so has `scratch`.
template <class T, class I>
void cross_entropy_forward(T* mean, float* lse, const T* x, const I* classes, std::int64_t rows, std::int64_t cols,
                           float* scratch, Stream stream);
template <class T>
void soft_cross_entropy_forward(T* mean, float* lse, const T* x, const T* t, std::int64_t rows, std::int64_t cols,
                                float* scratch, Stream stream);

template <class T, class I>
void cross_entropy_backward(T* dx, const T* dmean, const T* x, const I* classes, const float* lse, std::int64_t rows,
                            std::int64_t cols, Stream stream);
template <class T>
void soft_cross_entropy_backward(T* dx, const T* dmean, const T* x, const T* t, const float* lse, std::int64_t rows,
                                 std::int64_t cols, Stream stream);
/// The gradient with respect to the soft targets.
template <class T>
void soft_cross_entropy_targets_backward(T* dt, const T* dmean, const T* x, const float* lse, std::int64_t rows,
                                         std::int64_t cols, Stream stream);

}  // namespace clip::kernels::cuda
