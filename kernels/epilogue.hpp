#pragma once
#include "clip/core/activation.hpp"

namespace clip::kernels {

/// What a matrix product or convolution does to its sums before it stores them, in f32 and rounded once:
/// y = activation(sum + bias[column] + y), the last term being what y held before, where `accumulate` says so.
template <class T>
struct Epilogue {
  const T* bias = nullptr;  ///< one for each column of y; null for none
  bool accumulate = false;
  Activation activation = Activation::none;
};

}  // namespace clip::kernels
