#pragma once
// Elementwise kernels: a thread has 16 bytes of each array; in the last block of threads, and where an array does not
// begin at a multiple of 16 bytes, as many single elements, a block's width apart.
#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"

namespace clip::kernels::cuda {

inline constexpr int elementwise_threads = 256;

template <class T, class F, class... In>
__global__ void __launch_bounds__(elementwise_threads)
    elementwise_kernel(F f, bool vectors, std::int64_t n, T* y, const In*... in) {
  constexpr int N = vector_of<T>, in_block = elementwise_threads * N;
  const std::int64_t first = std::int64_t{blockIdx.x} * in_block;
  if (vectors && first + in_block <= n) {
    const std::int64_t i = first + threadIdx.x * N;
    store(y + i, f(i, load<N>(in + i)...));
  } else {
    for (std::int64_t i = first + threadIdx.x; i < n && i < first + in_block; i += elementwise_threads)
      store(y + i, f(i, load<1>(in + i)...));
  }
}

/// y[i] = f(i, in[i]…) for n elements; f takes and gives several at once, as Floats, i being the first one's index.
template <class T, class F, class... In>
void elementwise(const char* name, Stream stream, const F& f, std::int64_t n, T* y, const In*... in) {
  constexpr std::int64_t in_block = elementwise_threads * vector_of<T>;
  launch(name, {(n + in_block - 1) / in_block, {elementwise_threads}}, stream, elementwise_kernel<T, F, In...>, f,
         in_vectors<T>(0, y, in...), n, y, in...);
}

}  // namespace clip::kernels::cuda
