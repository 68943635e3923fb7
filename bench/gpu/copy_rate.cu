// How fast this GPU copies within its memory, bytes read and written: the bound of all kernels that compute little.
#include <cuda_runtime.h>

#include "bench/gpu/median_time.cuh"

int main() {
  constexpr std::size_t bytes = std::size_t{1} << 30;  // far more than any cache
  void *from = nullptr, *to = nullptr;
  clip::bench::call(cudaMalloc(&from, bytes));
  clip::bench::call(cudaMalloc(&to, bytes));
  clip::bench::call(cudaMemset(from, 0x5a, bytes));
  const double seconds =
      clip::bench::median_time([&] { clip::bench::call(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice)); });
  std::printf("copy bandwidth: %.0f GB/s, read and written\n", 2e-9 * bytes / seconds);
}
