#pragma once
// Matrix products y = epilogue(a b) through oneDNN, on the GPU through cuBLASLt, in f32 or bf16, there f16 too, with
// f32 sums. Where the CPU has no bf16 arithmetic that oneDNN can use, operands are converted and the product is f32's,
// rounded.
#include <cstdint>
#include <memory>

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

namespace cuda {

/// cuBLASLt for one stream: its handle, the products planned so far, and their scratch memory. Several threads may use
/// one. `void` for `Device::kept`.
class MatmulPlans;
std::shared_ptr<void> make_matmul_plans(void* stream);

/// f32 is multiplied in full, not in TF32. Activations that cuBLASLt lacks, and all of an epilogue where it has no
/// kernel with it, are applied to the rounded sums.
template <class T>
void matmul(T* y, const T* a, const T* b, const MatmulShape& shape, const Epilogue<T>& epilogue, MatmulPlans& plans);

/// y = factor a b, plus what y held before where `accumulate` says so, with nothing rounded to T, bf16 or f16.
template <class T>
void matmul_f32(float* y, const T* a, const T* b, const MatmulShape& shape, float factor, bool accumulate,
                MatmulPlans& plans);

}  // namespace cuda
}  // namespace clip::kernels
