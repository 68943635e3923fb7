#pragma once
#include <cuda_runtime.h>

namespace clip::kernels::cuda {

/// The block's shared memory as a T: what the launch asked for, which is at least sizeof(T) bytes. It starts at a
/// multiple of 128.
template <class T>
__device__ T& shared_as() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char memory[];
  return *reinterpret_cast<T*>(memory);
#else
  return *static_cast<T*>(host_cuda::shared_memory(sizeof(T)));
#endif
}

}  // namespace clip::kernels::cuda
