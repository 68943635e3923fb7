#pragma once
// Matrix products y = epilogue(a b) through oneDNN, in f32 or bf16 with f32 sums.
// Where the CPU has no bf16 arithmetic that oneDNN can use, operands are converted and the product is f32's, rounded.
#include <cstdint>

#include "clip/core/dtype.hpp"
#include "kernels/epilogue.hpp"
#include "kernels/packed_weights.hpp"

namespace clip::kernels {

/// Dense operands, row by row: y [batch, m, n], a [batch, m, k], b [batch, k, n]; a transposed one is stored with its
/// last two dimensions exchanged, a shared one has no batch dimension. k = 0 sums nothing.
struct MatmulShape {
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool share_a = false, share_b = false;
};

namespace cpu {

/// With `packed`, which needs batch = 1, b is read from the copy kept there.
template <class T>
void matmul(T* y, const T* a, const T* b, const MatmulShape& shape, const Epilogue<T>& epilogue = {},
            PackedWeights* packed = nullptr);

}  // namespace cpu
}  // namespace clip::kernels
