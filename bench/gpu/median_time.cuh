#pragma once
// What the measurements of a GPU's limits share.
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

namespace clip::bench {

[[noreturn]] inline void fail(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::exit(1);
}

inline void call(cudaError_t status) {
  if (status != cudaSuccess) fail(cudaGetErrorString(status));
}

/// The median time of `work`, which it starts on the default stream, in seconds by the GPU's clock.
template <class Work>
double median_time(const Work& work) {
  cudaEvent_t begin, end;
  call(cudaEventCreate(&begin));
  call(cudaEventCreate(&end));
  for (int i = 0; i < 5; ++i) work();  // starts what is started once, and wakes the clocks
  std::array<float, 21> times;
  for (float& milliseconds : times) {
    call(cudaEventRecord(begin));
    work();
    call(cudaEventRecord(end));
    call(cudaEventSynchronize(end));
    call(cudaEventElapsedTime(&milliseconds, begin, end));
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2] * 1e-3;
}

}  // namespace clip::bench
