#pragma once
// Stands in for CUDA's header of the same name where kernels are compiled for the host executor: what our kernels and
// their tests use of CUDA's language and runtime.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>

#include "tests/host_cuda/executor.hpp"
#include "tests/host_cuda/mma.hpp"
#include "tests/host_cuda/stream.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

// Barriers, shuffles and votes. The last two arguments are the caller's place.

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  clip::host_cuda::block_barrier({file, line});
}

inline void __threadfence_system() {}  // one thread of the host runs at a time
inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  int nothing = 0;
  clip::host_cuda::warp_operation({file, line}, mask, &nothing, [](void* const(&)[32]) {});
}

namespace clip::host_cuda {

/// Each lane's value goes to the lanes that name it as their source.
template <class T>
T shuffle(Site site, unsigned mask, T value, unsigned source) {
  struct Lane {
    Site site;
    T value, result;
    unsigned source;
  } self{site, value, value, source};
  warp_operation(site, mask, &self, [](void* const(&data)[32]) {
    for (void* const each : data) {
      if (each == nullptr) continue;
      auto& to = *static_cast<Lane*>(each);
      if (data[to.source] == nullptr) mistake(to.site, "a lane reads one outside the mask of its shuffle");
      to.result = static_cast<const Lane*>(data[to.source])->value;
    }
  });
  return self.result;
}

inline unsigned ballot(Site site, unsigned mask, bool predicate) {
  struct Lane {
    bool predicate;
    unsigned result;
  } self{predicate, 0};
  warp_operation(site, mask, &self, [](void* const(&data)[32]) {
    unsigned result = 0;
    for (unsigned l = 0; l < 32; ++l)
      if (data[l] != nullptr && static_cast<const Lane*>(data[l])->predicate) result |= 1u << l;
    for (void* const each : data)
      if (each != nullptr) static_cast<Lane*>(each)->result = result;
  });
  return self.result;
}

}  // namespace clip::host_cuda

template <class T>
T __shfl_sync(unsigned mask, T value, int source, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return clip::host_cuda::shuffle({file, line}, mask, value, static_cast<unsigned>(source) % 32);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return clip::host_cuda::shuffle({file, line}, mask, value, clip::host_cuda::lane() ^ static_cast<unsigned>(bits));
}
inline unsigned __ballot_sync(unsigned mask, bool predicate, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
  return clip::host_cuda::ballot({file, line}, mask, predicate);
}

// Arithmetic. Where the device's is approximate, so is this.

inline float __expf(float x) { return std::exp2(x * 1.44269504f); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdividef(float a, float b) { return a * (1.0f / b); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

template <class T>
T atomicAdd(T* at, T value) {
  return std::exchange(*at, *at + value);
}

// The runtime: one device, the host, whose memory is the host's. stream.hpp has streams, graphs, memory and copies.

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
struct cudaDeviceProp {
  char name[256];
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "invalid argument";
  }
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const std::string name = "host executor, CLIP_HOST_CUDA_SEED=" + std::to_string(clip::host_cuda::seed());
  std::memcpy(properties->name, name.c_str(), name.size() + 1);
  return cudaSuccess;
}

enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = static_cast<int>(clip::host_cuda::most_shared());
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  if (config->dynamicSmemBytes > clip::host_cuda::most_shared()) return cudaErrorInvalidValue;
  clip::host_cuda::submit(config->stream,
                          [config = *config, kernel, parameters = std::tuple<Parameters...>(arguments...)] {
                            clip::host_cuda::run(config.gridDim, config.blockDim, config.dynamicSmemBytes,
                                                 [&] { std::apply(kernel, parameters); });
                          });
  return cudaSuccess;
}
