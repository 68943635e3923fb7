#pragma once
#include <cstdint>

#include "clip/core/activation.hpp"
#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

/// What a matrix product or convolution does to its sums, in f32, before it stores them:
/// y = activation(sum + bias[column] + y), the last term being what y held before, where `accumulate` says so.
/// Rounded once on the CPU, and on the GPU where the library has all of it; else the library rounds sum + y, and
/// `cuda::apply_epilogue` rounds the rest.
template <class T>
struct Epilogue {
  const T* bias = nullptr;  ///< one for each column of y; null for none
  bool accumulate = false;
  Activation activation = Activation::none;
};

}  // namespace clip::kernels

namespace clip::kernels::cuda {

/// y [rows, cols] = activation(y + bias), in f32 and rounded once to T = float, bf16 or f16. `bias` may be null.
template <class T>
void apply_epilogue(T* y, const T* bias, Activation activation, std::int64_t rows, std::int64_t cols, Stream stream);

/// An epilogue of sums of nothing.
template <class T>
void epilogue_of_nothing(T* y, const Epilogue<T>& epilogue, std::int64_t rows, std::int64_t cols, Stream stream,
                         const char* op);

}  // namespace clip::kernels::cuda
