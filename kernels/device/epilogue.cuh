#pragma once
// What a library's product or convolution could not do itself of an epilogue.
#include <cuda_runtime_api.h>

#include "clip/core/error.hpp"
#include "kernels/activation.hpp"
#include "kernels/arithmetic.hpp"
#include "kernels/epilogue.hpp"

namespace clip::kernels::cuda {

/// y [rows, cols] = activation(y + bias), where there are these.
template <class T>
void apply_epilogue(T* y, const T* bias, Activation activation, std::int64_t rows, std::int64_t cols, Stream stream) {
  if (bias != nullptr) arithmetic(Arithmetic::add, y, y, bias, {2, {rows, cols}, {cols, 1}, {0, 1}}, stream);
  if (activation != Activation::none) activation_forward(activation, y, y, rows * cols, stream);
}

/// The same of sums of nothing: y = activation(bias + y), the last term where `accumulate` says so.
template <class T>
void epilogue_of_nothing(T* y, const Epilogue<T>& epilogue, std::int64_t rows, std::int64_t cols, Stream stream,
                         const char* op) {
  const auto bytes = static_cast<std::size_t>(rows * cols) * sizeof(T);
  if (!epilogue.accumulate) {
    const cudaError_t status = cudaMemsetAsync(y, 0, bytes, stream);
    if (status != cudaSuccess) fail(op, "clearing the output: ", cudaGetErrorString(status));
  }
  apply_epilogue(y, epilogue.bias, epilogue.activation, rows, cols, stream);
}

}  // namespace clip::kernels::cuda
