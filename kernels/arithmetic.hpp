#pragma once
// Elementwise arithmetic. Computed in f32 and rounded once to T = float or bf16, on the GPU also f16.
#include <array>
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels {

enum class Arithmetic { add, sub, mul, div };

/// How two operands broadcast to an output: extents, and for each dimension an operand's stride in elements, 0 where it
/// is repeated. The last dimension's strides are 0 or 1.
struct Broadcast {
  int rank = 0;
  std::array<std::int64_t, 8> extent{}, a_stride{}, b_stride{};
};

namespace cpu {

/// y[i] = a[i] op b[i], both operands broadcast as `shape` says.
template <class T>
void arithmetic(Arithmetic op, T* y, const T* a, const T* b, const Broadcast& shape);

/// y[i] = a[i] + b[i]; y may be a or b.
template <class T>
void add(T* y, const T* a, const T* b, std::int64_t n);

/// y[i] = scale * x[i] + shift
template <class T>
void affine(T* y, const T* x, float scale, float shift, std::int64_t n);

template <class T>
void exp(T* y, const T* x, std::int64_t n);
template <class T>
void log(T* y, const T* x, std::int64_t n);

}  // namespace cpu
}  // namespace clip::kernels

namespace clip::kernels::cuda {

template <class T>
void arithmetic(Arithmetic op, T* y, const T* a, const T* b, const Broadcast& shape, Stream stream);
template <class T>
void add(T* y, const T* a, const T* b, std::int64_t n, Stream stream);
template <class T>
void affine(T* y, const T* x, float scale, float shift, std::int64_t n, Stream stream);
template <class T>
void exp(T* y, const T* x, std::int64_t n, Stream stream);
template <class T>
void log(T* y, const T* x, std::int64_t n, Stream stream);

}  // namespace clip::kernels::cuda
