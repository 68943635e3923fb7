#pragma once
// Totals over all of an array by one block of threads.
#include "kernels/device/launch.cuh"
#include "kernels/device/shared.cuh"

namespace clip::kernels::cuda {

inline constexpr unsigned total_threads = 1024;
struct TotalMemory {
  double each[total_threads];
};
/// The sum of values(0) … values(n - 1) by a launch of `total_grid`, in double and in a fixed order; for thread 0.
template <class Values>
__device__ double total_of(std::int64_t n, const Values& values) {
  double(&sums)[total_threads] = shared_as<TotalMemory>().each;
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += total_threads) sum += values(i);
  __syncthreads();  // an earlier total has been read
  sums[threadIdx.x] = sum;
  for (unsigned half = total_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  return sums[0];
}
inline constexpr Grid total_grid{1, {total_threads}, sizeof(TotalMemory)};

}  // namespace clip::kernels::cuda
