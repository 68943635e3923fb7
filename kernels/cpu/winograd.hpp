#pragma once
// 3x3 convolutions with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3) (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015). Each 2x2 tile of y comes from a 4x4 tile of x:
//   y = A' [sum over c of (G w G') * (B' x B)] A     elementwise in the brackets,
// which for many tiles and channels is sixteen matrix products [tiles, in] [in, out], done by oneDNN.
#include "kernels/conv2d.hpp"

namespace clip::kernels::cpu {

/// Whether `s` is a convolution that `winograd` computes, and faster than directly.
template <class T>
bool winograd_pays(const Conv2dShape& s, Activation activation);

/// `conv2d_forward` of such a convolution. `w` has elements of T, or where `converted` bf16 ones.
template <class T>
void winograd_forward(T* y, const T* x, const void* w, bool converted, const Conv2dShape& s,
                      const Epilogue<T>& epilogue, PackedWeights* packed);

/// `conv2d_backward_data` of such a convolution: one of dy with the kernels turned around.
template <class T>
void winograd_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s);

}  // namespace clip::kernels::cpu
