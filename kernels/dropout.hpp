#pragma once
// Dropout with a mask that is never stored: element i is kept when word i % 4 of Philox block offset + i / 4 is not
// below dropout_threshold(p), so it can be computed again for the backward pass, by any thread, on any device.
//   y = kept ? x / (1 - p) : 0       and its gradient, which is the same function of dy
// T = float or bf16, on the GPU also f16.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

/// How many of the 2^32 words drop an element: p 2^32 rounded up, which is exact for a float p in (0, 1].
constexpr std::uint64_t dropout_threshold(float p) {
  const double exact = static_cast<double>(p) * 0x1p32;
  const auto whole = static_cast<std::uint64_t>(exact);
  return whole + (static_cast<double>(whole) < exact ? 1 : 0);
}

/// Which elements dropout keeps.
struct DropoutMask {
  float p = 0;  ///< 0 <= p <= 1
  std::uint64_t seed = 0, offset = 0;
  const std::int64_t* base = nullptr;  ///< in the GPU's memory, where kernels add it to the offset; null: nothing
};

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// 0 < p <= 1
template <class T>
void dropout(T* y, const T* x, const DropoutMask& mask, std::int64_t n);

/// y = dropout(x) + residual
template <class T>
void dropout_add(T* y, const T* x, const T* residual, const DropoutMask& mask, std::int64_t n);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// The same elements are dropped as on the CPU.
template <class T>
void dropout(T* y, const T* x, const DropoutMask& mask, std::int64_t n, Stream stream);
template <class T>
void dropout_add(T* y, const T* x, const T* residual, const DropoutMask& mask, std::int64_t n, Stream stream);

}  // namespace clip::kernels::cuda
