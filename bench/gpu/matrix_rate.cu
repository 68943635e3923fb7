// How fast cuBLAS multiplies matrices in bf16 on this GPU, sums in f32: the bound of all kernels that compute much.
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "bench/gpu/median_time.cuh"

namespace {

/// Numbers in [-1, 1) that look random: zeros take less power to multiply, which makes a GPU faster.
__global__ void fill(__nv_bfloat16* x, std::uint32_t count) {
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    std::uint32_t word = i * 2654435761u;
    word = (word ^ (word >> 15)) * 2246822519u;
    x[i] = __float2bfloat16(static_cast<float>(word >> 8) * 0x1p-23f - 1);
  }
}

void call(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) clip::bench::fail(cublasGetStatusString(status));
}

}  // namespace

int main() {
  constexpr int n = 8192;
  constexpr std::uint32_t count = std::uint32_t{n} * n;
  __nv_bfloat16 *a = nullptr, *b = nullptr, *c = nullptr;
  for (__nv_bfloat16** matrix : {&a, &b, &c}) {
    clip::bench::call(cudaMalloc(matrix, sizeof(__nv_bfloat16) * count));
    fill<<<1024, 256>>>(*matrix, count);
    clip::bench::call(cudaGetLastError());
  }
  cublasHandle_t cublas = nullptr;
  call(cublasCreate(&cublas));
  const float one = 1, zero = 0;
  const double seconds = clip::bench::median_time([&] {
    call(cublasGemmEx(cublas, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a, CUDA_R_16BF, n, b, CUDA_R_16BF, n, &zero, c,
                      CUDA_R_16BF, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  });
  std::printf("matrix rate: %.0f TFLOP/s, bf16, %d x %d x %d\n", 2e-12 * n * n * n / seconds, n, n, n);
}
