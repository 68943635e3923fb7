// One pass over memory and one launch for all tensors: 16 bytes read and 12 written for each element. A block of
// threads has 4096 elements of one tensor, which it finds by bisecting the numbers of the tensors' first blocks.
// For the norm of the gradients such blocks sum squares, in f32 by thread and in double over threads; one block of
// threads adds up what they found, and leaves the factor where the step reads it: the CPU does not wait for it.
#include "kernels/adamw.hpp"

#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/pair_tiles.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int threads = 256, in_block = 4096;

/// N elements from `i` on.
template <int N>
__device__ void update(const AdamWTensor& t, std::int64_t i, float factor) {
  auto g = load<N>(t.g + i);
  auto p = load<N>(t.p + i), m = load<N>(t.m + i), v = load<N>(t.v + i);
  for (int e = 0; e < N; ++e) {
    g[e] *= factor;
    m[e] += t.beta1_rest * (g[e] - m[e]);
    v[e] = v[e] * t.beta2 + (t.beta2_rest * g[e]) * g[e];
    p[e] = p[e] * t.keep - t.step * (m[e] / (sqrtf(v[e]) * t.correction + t.eps));
  }
  store(t.m + i, m);
  store(t.v + i, v);
  store(t.p + i, p);
}

__device__ bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// The elements [begin, end) of tensor `index` that the block has.
struct Share {
  std::int64_t index, begin, end;
};
__device__ Share share_of_block(const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count) {
  const std::int64_t block = blockIdx.x;
  std::int64_t low = 0, high = count;  // first[low] <= block, and < first[high]
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (first[middle] <= block ? low : high) = middle;
  }
  const std::int64_t begin = (block - first[low]) * in_block;
  return {low, begin, std::min<std::int64_t>(begin + in_block, tensors[low].count)};
}

__global__ void __launch_bounds__(threads)
    step(const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count, const float* factor) {
  const Share share = share_of_block(tensors, first, count);
  const AdamWTensor t = tensors[share.index];
  const float scale = factor == nullptr ? 1.0f : *factor;
  const auto thread = std::int64_t{threadIdx.x};
  if (share.end - share.begin == in_block && aligned(t.p) && aligned(t.m) && aligned(t.v) && aligned(t.g)) {
    for (std::int64_t i = share.begin + 4 * thread; i < share.end; i += 4 * threads) update<4>(t, i, scale);
  } else {
    for (std::int64_t i = share.begin + thread; i < share.end; i += threads) update<1>(t, i, scale);
  }
}

struct WarpSquares {
  double each[threads / 32];
};

/// partial[block] = the sum of the squares of the block's gradients.
__global__ void __launch_bounds__(threads)
    squares(double* partial, const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count) {
  const Share share = share_of_block(tensors, first, count);
  const float* const g = tensors[share.index].g;
  float sum = 0;
  if (share.end - share.begin == in_block && aligned(g)) {
#pragma unroll
    for (int i = 0; i < in_block; i += 4 * threads) {
      const auto v = load<4>(g + share.begin + i + 4 * static_cast<int>(threadIdx.x));
      for (int e = 0; e < 4; ++e) sum += v[e] * v[e];
    }
  } else {
    for (std::int64_t i = share.begin + threadIdx.x; i < share.end; i += threads) sum += g[i] * g[i];
  }
  double total = sum;
  for (int bits = 16; bits > 0; bits /= 2) total += __shfl_xor_sync(~0u, total, bits);
  auto& sums = shared_as<WarpSquares>().each;
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < threads / 32; ++warp) total += sums[warp];
  partial[blockIdx.x] = total;
}

/// One block.
__global__ void __launch_bounds__(1024)
    factor_of(float* factor, const double* partial, std::int64_t blocks, float max_norm) {
  const double squares = total_of(blocks, [&](std::int64_t i) { return partial[i]; });
  if (threadIdx.x != 0) return;
  const auto scale = static_cast<float>(static_cast<double>(max_norm) / (sqrt(squares) + 1e-6));
  *factor = scale < 1.0f ? scale : 1.0f;
}

}  // namespace

void adamw(const AdamWTensor* tensors, const std::int64_t* first, std::int64_t count, std::int64_t blocks,
           const float* factor, Stream stream) {
  launch("AdamW", {blocks, {threads}}, stream, step, tensors, first, count, factor);
}

void clip_factor(float* factor, double* partial, const AdamWTensor* tensors, const std::int64_t* first,
                 std::int64_t count, std::int64_t blocks, float max_norm, Stream stream) {
  launch("AdamW", {blocks, {threads}, sizeof(WarpSquares)}, stream, squares, partial, tensors, first, count);
  launch("AdamW", {1, {1024}, sizeof(TotalMemory)}, stream, factor_of, factor, partial, blocks, max_norm);
}

}  // namespace clip::kernels::cuda
