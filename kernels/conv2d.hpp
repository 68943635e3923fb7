#pragma once
// Convolution through oneDNN, directly or by Winograd's method (cpu/winograd.hpp), in f32 or bf16 with f32 sums; on the
// GPU through cuDNN, there in f16 too. Images NHWC, weights [out, in, kernel_h, kernel_w], on the GPU [out, kernel_h,
// kernel_w, in].
//   y[n, i, j, o] = epilogue(sum over c, p, q of w[o, c, p, q] x[n, i stride + p - padding, j stride + q - padding, c])
// with x = 0 outside the image. Where the CPU has no bf16 arithmetic that oneDNN can use, operands are converted and
// the convolution is f32's, rounded.
#include <cstdint>
#include <memory>

#include "clip/core/dtype.hpp"
#include "kernels/epilogue.hpp"
#include "kernels/packed_weights.hpp"

namespace clip::kernels {

/// Images [n, h, w, in] to [n, out_h(), out_w(), out].
struct Conv2dShape {
  std::int64_t n = 0, h = 0, w = 0, in = 0, out = 0, kernel_h = 1, kernel_w = 1, stride = 1, padding = 0;

  std::int64_t out_h() const { return (h + 2 * padding - kernel_h) / stride + 1; }
  std::int64_t out_w() const { return (w + 2 * padding - kernel_w) / stride + 1; }
  std::int64_t x_size() const { return n * h * w * in; }
  std::int64_t w_size() const { return out * in * kernel_h * kernel_w; }
  std::int64_t y_size() const { return n * out_h() * out_w() * out; }
};

namespace cpu {

/// With `packed` the weights are read from the copy kept there, else they are reordered at every call.
template <class T>
void conv2d_forward(T* y, const T* x, const T* w, const Conv2dShape& shape, const Epilogue<T>& epilogue = {},
                    PackedWeights* packed = nullptr);

template <class T>
void conv2d_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& shape);
template <class T>
void conv2d_backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& shape);

}  // namespace cpu

namespace cuda {

/// cuDNN for one stream: its handle, the convolutions planned so far, and their scratch memory. Several threads may use
/// one. `void` for `Device::kept`.
class ConvolutionPlans;
std::shared_ptr<void> make_convolution_plans(void* stream);

/// f32 is multiplied in full, not in TF32. Activations other than relu, and all of an epilogue where cuDNN has no
/// kernel with it, are applied to the rounded sums.
template <class T>
void conv2d_forward(T* y, const T* x, const T* w, const Conv2dShape& shape, const Epilogue<T>& epilogue,
                    ConvolutionPlans& plans);

template <class T>
void conv2d_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& shape, ConvolutionPlans& plans);
template <class T>
void conv2d_backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& shape, ConvolutionPlans& plans);

}  // namespace cuda
}  // namespace clip::kernels
