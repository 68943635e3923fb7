#pragma once
// What benchmarks ask CUDA's runtime for, on the host executor: the time between events, and memory in use, which
// nobody counts there.
#include <chrono>
#include <cstdint>
#include <cstring>

#include "tests/host_cuda/cuda_runtime.h"

/// When it was recorded: streams have then done all that was put into them.
using cudaEvent_t = std::chrono::steady_clock::time_point*;
inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new std::chrono::steady_clock::time_point;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  *event = std::chrono::steady_clock::now();
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(*end - *begin).count();
  return cudaSuccess;
}

inline constexpr auto cudaMemPoolAttrUsedMemCurrent = static_cast<cudaMemPoolAttr>(6);
inline constexpr auto cudaMemPoolAttrUsedMemHigh = static_cast<cudaMemPoolAttr>(7);
inline cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* bytes) {
  std::memset(bytes, 0, sizeof(std::uint64_t));
  return cudaSuccess;
}
