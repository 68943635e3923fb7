#pragma once
// Elements in memory and as f32 in registers: 16 bytes at a time where addresses allow.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "clip/core/dtype.hpp"

namespace clip::kernels::cuda {

/// N numbers in registers.
template <int N>
struct Floats {
  static constexpr int size = N;
  float v[N];
  __device__ float& operator[](int i) { return v[i]; }
  __device__ float operator[](int i) const { return v[i]; }
};

/// N elements as they lie in memory.
template <class T, int N>
struct alignas(std::min<std::size_t>(16, N * sizeof(T))) Packed {
  T e[N];
};

/// How many elements are 16 bytes.
template <class T>
inline constexpr int vector_of = 16 / static_cast<int>(sizeof(T));

/// Whether 16 bytes can be read and written at once: rows of `cols` elements of T that begin at all of these addresses.
template <class T, class... Pointers>
bool in_vectors(std::int64_t cols, const Pointers*... rows) {
  return cols % vector_of<T> == 0 && ((reinterpret_cast<std::uintptr_t>(rows) % 16 == 0) && ...);
}

/// What lies at `p`, which must be aligned for it: the sanitizers of the host executor's builds look at that here.
template <class V>
__device__ __forceinline__ V& aligned_as(void* p) {
  return *static_cast<V*>(__builtin_assume_aligned(p, alignof(V)));
}
template <class V>
__device__ __forceinline__ const V& aligned_as(const void* p) {
  return *static_cast<const V*>(__builtin_assume_aligned(p, alignof(V)));
}

/// Two numbers rounded to T, next to each other; one instruction where T is 16 bits long.
template <class T>
__device__ __forceinline__ Packed<T, 2> round2(float a, float b) {
  Packed<T, 2> r;
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(T) == 2) {
    std::uint32_t bits;
    if constexpr (dtype_of<T> == dtype::bf16)
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(b), "f"(a));
    else
      asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(b), "f"(a));
    r.e[0].bits = static_cast<std::uint16_t>(bits);
    r.e[1].bits = static_cast<std::uint16_t>(bits >> 16);
    return r;
  }
#endif
  r.e[0] = T(a);
  r.e[1] = T(b);
  return r;
}

template <class T>
__device__ __forceinline__ float widen(T value) {
#ifdef __CUDA_ARCH__
  if constexpr (dtype_of<T> == dtype::f16) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
  }
#endif
  return static_cast<float>(value);
}

template <class T, int N>
__device__ __forceinline__ Floats<N> widen(const Packed<T, N>& packed) {
  Floats<N> r;
#pragma unroll
  for (int i = 0; i < N; ++i) r[i] = widen(packed.e[i]);
  return r;
}

/// N elements from `p`, which is aligned for a Packed<T, N>.
template <int N, class T>
__device__ __forceinline__ Packed<T, N> load_packed(const T* p) {
  return aligned_as<Packed<T, N>>(p);
}
template <int N, class T>
__device__ __forceinline__ Floats<N> load(const T* p) {
  return widen(load_packed<N>(p));
}

template <class T, int N>
__device__ __forceinline__ Packed<T, N> round(const Floats<N>& x) {
  Packed<T, N> packed;
  if constexpr (N == 1) {
    packed.e[0] = round2<T>(x[0], 0.0f).e[0];
  } else {
#pragma unroll
    for (int i = 0; i < N; i += 2) {
      const Packed<T, 2> pair = round2<T>(x[i], x[i + 1]);
      packed.e[i] = pair.e[0];
      packed.e[i + 1] = pair.e[1];
    }
  }
  return packed;
}

template <class T, int N>
__device__ __forceinline__ void store(T* p, const Packed<T, N>& x) {
  aligned_as<Packed<T, N>>(p) = x;
}
template <class T, int N>
__device__ __forceinline__ void store(T* p, const Floats<N>& x) {
  store(p, round<T>(x));
}

}  // namespace clip::kernels::cuda
