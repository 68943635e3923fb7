#pragma once
// Copies from global to shared memory that go on while the thread does other things, and take no registers.
#include <cuda_runtime.h>

#include <cstdint>

namespace clip::kernels::cuda {

/// Begins to copy 16 bytes, or zeros where not `there`; both addresses are multiples of 16. (PTX: cp.async.cg)
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool there) {
#ifdef __CUDACC__
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(there ? 16 : 0)
               : "memory");
#else
  host_cuda::copy_async(shared, global, there);
#endif
}

/// Waits for the copies that this thread has begun. Others see them after a barrier.
__device__ __forceinline__ void wait_for_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  host_cuda::wait_for_copies();
#endif
}

/// Makes a group of the copies that this thread has begun since the last one. (PTX: cp.async.commit_group)
__device__ __forceinline__ void commit_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  host_cuda::commit_copies();
#endif
}

/// Waits for this thread's groups of copies but the last `Later`. (PTX: cp.async.wait_group)
template <int Later>
__device__ __forceinline__ void wait_for_groups() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_group %0;" ::"n"(Later) : "memory");
#else
  host_cuda::wait_for_groups(Later);
#endif
}

}  // namespace clip::kernels::cuda
