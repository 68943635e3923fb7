#pragma once
// Exponentials in base 2, which take one instruction.
#include <cuda_runtime.h>

#include <cmath>

namespace clip::kernels::cuda {

inline constexpr float log2_e = 1.44269504f, ln_2 = 0.69314718f;

__device__ inline float exp2_approximately(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return exp2f(x);
#endif
}

}  // namespace clip::kernels::cuda
