#pragma once
// A warp's products on tensor cores, T = bf16 or f16, sums in f32. Which lane has what, with g = lane / 4 and
// c = 2 (lane % 4):
//   sum [16, 8]   at (g, c), (g, c + 1), (g + 8, c), (g + 8, c + 1)
//   a [16, 16]    pairs that begin at (g, c), (g + 8, c), (g, c + 8), (g + 8, c + 8)
//   b [16, 8]     pairs down a column, from (c, g) and (c + 8, g)
// so two sums side by side, rounded in pairs, are an a; and matrices of 8 x 8 come as parts of a, or of a b whose
// columns are rows in memory, by load_matrices, of a b whose rows are rows in memory by load_matrices_transposed.
#include "kernels/device/elements.cuh"

namespace clip::kernels::cuda {

/// sum += a b, for all lanes of a warp together: volatile, lest the compiler move it into a branch that only some lanes
/// take, because only they use the sum. (PTX: mma.sync.aligned.m16n8k16)
template <class T>
__device__ __forceinline__ void mma(float (&sum)[4], const Packed<T, 2> (&a)[4], const Packed<T, 2>& b0,
                                    const Packed<T, 2>& b1) {
#ifdef __CUDACC__
  const auto bits = [](const Packed<T, 2>& pair) { return *reinterpret_cast<const std::uint32_t*>(&pair); };
  if constexpr (dtype_of<T> == dtype::bf16)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(bits(a[0])), "r"(bits(a[1])), "r"(bits(a[2])), "r"(bits(a[3])), "r"(bits(b0)), "r"(bits(b1)));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(bits(a[0])), "r"(bits(a[1])), "r"(bits(a[2])), "r"(bits(a[3])), "r"(bits(b0)), "r"(bits(b1)));
#else
  host_cuda::mma(sum, a, b0, b1);
#endif
}

/// Four matrices of 8 x 8 from shared memory: lane l says where row l % 8 of matrix l / 8 is, at a multiple of 16
/// bytes, and gets of each the pair that begins at (g, c). (PTX: ldmatrix)
template <class T>
__device__ __forceinline__ void load_matrices(Packed<T, 2> (&m)[4], const T* row) {
#ifdef __CUDACC__
  std::uint32_t* const bits = reinterpret_cast<std::uint32_t*>(m);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  host_cuda::load_matrices<false>(m, row);
#endif
}

/// The same of each matrix's transpose.
template <class T>
__device__ __forceinline__ void load_matrices_transposed(Packed<T, 2> (&m)[4], const T* row) {
#ifdef __CUDACC__
  std::uint32_t* const bits = reinterpret_cast<std::uint32_t*>(m);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#else
  host_cuda::load_matrices<true>(m, row);
#endif
}

}  // namespace clip::kernels::cuda
