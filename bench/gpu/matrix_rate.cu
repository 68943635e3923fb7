// How fast cuBLASLt multiplies matrices in bf16 on this GPU, sums in f32: the bound of all kernels that compute much.
#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "bench/gpu/median_time.cuh"
#include "clip/core/dtype.hpp"
#include "kernels/matmul.hpp"

namespace {

/// Numbers in [-1, 1) that look random: zeros take less power to multiply, which makes a GPU faster.
__global__ void fill(clip::bf16* x, std::uint32_t count) {
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    std::uint32_t word = i * 2654435761u;
    word = (word ^ (word >> 15)) * 2246822519u;
    x[i] = clip::bf16(static_cast<float>(word >> 8) * 0x1p-23f - 1);
  }
}

}  // namespace

int main() {
  constexpr int n = 8192;
  constexpr std::uint32_t count = std::uint32_t{n} * n;
  clip::bf16 *a = nullptr, *b = nullptr, *c = nullptr;
  for (clip::bf16** matrix : {&a, &b, &c}) {
    clip::bench::call(cudaMalloc(matrix, sizeof(clip::bf16) * count));
    fill<<<1024, 256>>>(*matrix, count);
    clip::bench::call(cudaGetLastError());
  }
  namespace cuda = clip::kernels::cuda;
  const std::shared_ptr<void> owner = cuda::make_matmul_plans(nullptr);
  auto& plans = *static_cast<cuda::MatmulPlans*>(owner.get());
  const double seconds = clip::bench::median_time(
      [&] { cuda::matmul<clip::bf16>(c, a, b, {.m = n, .n = n, .k = n, .transpose_b = true}, {}, plans); });
  std::printf("matrix rate: %.0f TFLOP/s, bf16, %d x %d x %d\n", 2e-12 * n * n * n / seconds, n, n, n);
}
