// One pass over memory and one launch for all tensors (kernels/device/tensor_list.cuh): 16 bytes read and 12 written
// for each element. For the norm of the gradients the same blocks sum squares, in f32 by thread and in double over
// threads; one block of threads adds up what they found, and leaves the factor where the step reads it: the CPU does
// not wait for it. Steps are counted and rates made of them on the GPU too, a tensor to a thread, so that a launch that
// a graph has recorded takes those of the day.
#include "kernels/adamw.hpp"

#include "kernels/device/tensor_list.cuh"
#include "kernels/device/total.cuh"
#include "kernels/device/warp.cuh"

namespace clip::kernels::cuda {
namespace {

/// N elements from `i` on.
template <int N>
__device__ void update(const AdamWTensor& t, const AdamWRates& r, std::int64_t i, float factor) {
  auto g = load<N>(t.g + i);
  auto p = load<N>(t.p + i), m = load<N>(t.m + i), v = load<N>(t.v + i);
  for (int e = 0; e < N; ++e) {
    g[e] *= factor;
    m[e] += r.beta1_rest * (g[e] - m[e]);
    v[e] = v[e] * r.beta2 + (r.beta2_rest * g[e]) * g[e];
    p[e] = p[e] * r.keep - r.step * (m[e] / (sqrtf(v[e]) * r.correction + r.eps));
  }
  store(t.m + i, m);
  store(t.v + i, v);
  store(t.p + i, p);
}

__global__ void __launch_bounds__(list_threads)
    step(TensorList<AdamWTensor> list, const AdamWRates* rates, const float* factor) {
  const ListShare share(list);
  const AdamWTensor t = list.each[share.index].tensor;
  const AdamWRates r = rates[share.index];
  const float scale = factor == nullptr ? 1.0f : *factor;
  const auto thread = std::int64_t{threadIdx.x};
  if (share.in_vectors(t.p, t.m, t.v, t.g)) {
    for (std::int64_t i = share.begin + 4 * thread; i < share.end; i += 4 * list_threads) update<4>(t, r, i, scale);
  } else {
    for (std::int64_t i = share.begin + thread; i < share.end; i += list_threads) update<1>(t, r, i, scale);
  }
}

struct WarpSquares {
  double each[list_threads / 32];
};

/// partial[block] = the sum of the squares of the block's gradients.
__global__ void __launch_bounds__(list_threads) squares(double* partial, TensorList<AdamWTensor> list) {
  const ListShare share(list);
  const float* const g = list.each[share.index].tensor.g;
  float sum = 0;
  if (share.in_vectors(g)) {
#pragma unroll
    for (int i = 0; i < in_list_block; i += 4 * list_threads) {
      const auto v = load<4>(g + share.begin + i + 4 * static_cast<int>(threadIdx.x));
      for (int e = 0; e < 4; ++e) sum += v[e] * v[e];
    }
  } else {
    for (std::int64_t i = share.begin + threadIdx.x; i < share.end; i += list_threads) sum += g[i] * g[i];
  }
  double total = sum;
  warp_sum(total);
  auto& sums = shared_as<WarpSquares>().each;
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < list_threads / 32; ++warp) total += sums[warp];
  partial[blockIdx.x] = total;
}

/// One block.
__global__ void __launch_bounds__(total_threads)
    factor_of(float* factor, const double* partial, std::int64_t blocks, float max_norm) {
  const double squares = total_of(blocks, [&](std::int64_t i) { return partial[i]; });
  if (threadIdx.x != 0) return;
  const auto scale = static_cast<float>(static_cast<double>(max_norm) / (sqrt(squares) + 1e-6));
  *factor = scale < 1.0f ? scale : 1.0f;
}

__global__ void __launch_bounds__(list_threads) make_rates(AdamWRates* rates, TensorList<AdamWTensor> list) {
  const std::int64_t i = std::int64_t{blockIdx.x} * list_threads + threadIdx.x;
  if (i < list.count) rates[i] = next_rates(list.each[i].tensor, [](double x) { return sqrt(x); });
}

}  // namespace

void adamw_rates(AdamWRates* rates, const TensorList<AdamWTensor>& tensors, Stream stream) {
  launch("AdamW", {(tensors.count + list_threads - 1) / list_threads, {list_threads}}, stream, make_rates, rates,
         tensors);
}

void adamw(const TensorList<AdamWTensor>& tensors, const AdamWRates* rates, const float* factor, Stream stream) {
  launch("AdamW", list_grid(tensors), stream, step, tensors, rates, factor);
}

void clip_factor(float* factor, double* partial, const TensorList<AdamWTensor>& tensors, float max_norm,
                 Stream stream) {
  launch("AdamW", list_grid(tensors, sizeof(WarpSquares)), stream, squares, partial, tensors);
  launch("AdamW", total_grid, stream, factor_of, factor, partial, tensors.blocks, max_norm);
}

}  // namespace clip::kernels::cuda
