// One pass over memory and one launch for all tensors: 16 bytes read and 12 written for each element. A block of
// threads has 4096 elements of one tensor, which it finds by bisecting the numbers of the tensors' first blocks.
#include "kernels/adamw.hpp"

#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int threads = 256, in_block = 4096;

/// N elements from `i` on.
template <int N>
__device__ void update(const AdamWTensor& t, std::int64_t i) {
  const auto g = load<N>(t.g + i);
  auto p = load<N>(t.p + i), m = load<N>(t.m + i), v = load<N>(t.v + i);
  for (int e = 0; e < N; ++e) {
    m[e] += t.beta1_rest * (g[e] - m[e]);
    v[e] = v[e] * t.beta2 + (t.beta2_rest * g[e]) * g[e];
    p[e] = p[e] * t.keep - t.step * (m[e] / (sqrtf(v[e]) * t.correction + t.eps));
  }
  store(t.m + i, m);
  store(t.v + i, v);
  store(t.p + i, p);
}

__device__ bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

__global__ void __launch_bounds__(threads)
    kernel(const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count) {
  const std::int64_t block = blockIdx.x;
  std::int64_t low = 0, high = count;  // first[low] <= block, and < first[high]
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (first[middle] <= block ? low : high) = middle;
  }
  const AdamWTensor t = tensors[low];
  const std::int64_t begin = (block - first[low]) * in_block, end = std::min<std::int64_t>(begin + in_block, t.count);
  const auto thread = std::int64_t{threadIdx.x};
  if (end - begin == in_block && aligned(t.p) && aligned(t.m) && aligned(t.v) && aligned(t.g)) {
    for (std::int64_t i = begin + 4 * thread; i < end; i += 4 * threads) update<4>(t, i);
  } else {
    for (std::int64_t i = begin + thread; i < end; i += threads) update<1>(t, i);
  }
}

}  // namespace

void adamw(const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count, std::int64_t blocks,
           Stream stream) {
  launch("AdamW", {blocks, {threads}}, stream, kernel, tensors, first, count);
}

}  // namespace clip::kernels::cuda
