// One pass over memory and one launch for all tensors (kernels/device/tensor_list.cuh): 8 bytes read and 4 written for
// each element.
#include "kernels/running_average.hpp"

#include "kernels/device/tensor_list.cuh"

namespace clip::kernels::cuda {
namespace {

/// N elements from `i` on.
template <int N>
__device__ void update(const AveragedTensor& t, std::int64_t i, float rest) {
  auto mean = load<N>(t.mean + i);
  const auto value = load<N>(t.value + i);
  for (int e = 0; e < N; ++e) mean[e] += rest * (value[e] - mean[e]);
  store(t.mean + i, mean);
}

__global__ void __launch_bounds__(list_threads) average(TensorList<AveragedTensor> list, const float* rest_there) {
  const ListShare share(list);
  const float rest = *rest_there;
  const AveragedTensor t = list.each[share.index].tensor;
  const auto thread = std::int64_t{threadIdx.x};
  if (share.in_vectors(t.mean, t.value)) {
    for (std::int64_t i = share.begin + 4 * thread; i < share.end; i += 4 * list_threads) update<4>(t, i, rest);
  } else {
    for (std::int64_t i = share.begin + thread; i < share.end; i += list_threads) update<1>(t, i, rest);
  }
}

}  // namespace

void running_average(const TensorList<AveragedTensor>& tensors, const float* rest, Stream stream) {
  launch("running_average", list_grid(tensors), stream, average, tensors, rest);
}

}  // namespace clip::kernels::cuda
