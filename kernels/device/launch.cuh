#pragma once
// How kernels are started. The same code runs on a GPU and in the host executor, which has a cuda_runtime.h of its own.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "clip/core/error.hpp"
#include "kernels/stream.hpp"

namespace clip::kernels::cuda {

/// The grid of a launch. `shared_bytes` is all of a block's shared memory: kernels have no other.
struct Grid {
  std::int64_t blocks;  ///< none at all is no launch
  dim3 threads;
  std::size_t shared_bytes = 0;
};

/// Puts kernel(arguments…) into the stream. Throws, with `name`, when CUDA refuses.
template <class... Parameters, class... Arguments>
void launch(const char* name, const Grid& grid, Stream stream, void (*kernel)(Parameters...),
            const Arguments&... arguments) {
  if (grid.blocks == 0) return;
  check(grid.blocks <= 0x7fffffff, name, "expected at most 2^31 - 1 blocks of threads, got ", grid.blocks,
        ": use smaller tensors");
  constexpr std::size_t granted = 48 * 1024;  // what every kernel may use
  if (grid.shared_bytes > granted) {
    const cudaError_t status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(grid.shared_bytes));
    if (status != cudaSuccess)
      fail(name, "asking for ", grid.shared_bytes, " bytes of shared memory: ", cudaGetErrorString(status));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(grid.blocks)};
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = stream;
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
  if (status != cudaSuccess) fail(name, "launching: ", cudaGetErrorString(status));
}

/// The most shared memory that the current GPU lets a block have.
inline std::size_t most_shared_bytes(const char* name) {
  int device = 0, bytes = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (status != cudaSuccess) fail(name, "asking how much shared memory there is: ", cudaGetErrorString(status));
  return static_cast<std::size_t>(bytes);
}

}  // namespace clip::kernels::cuda
