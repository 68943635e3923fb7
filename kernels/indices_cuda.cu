// Indices are copied, what is wrong replaced by what kernels may follow, so that the host need not look at them before
// it goes on. The memory for faults is the host's: nothing is written there as long as all is well, and the host finds
// what was when it waits for the stream the next time. A thread has every 4096th index, and a place of its own for the
// first fault it finds, so that nothing has to be atomic.
#include "kernels/indices.hpp"

#include <algorithm>

#include "kernels/device/launch.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int block_threads = 256;

/// f(position, thread) for all positions, over all threads.
template <class F>
__device__ void each_position(std::int64_t count, const F& f) {
  const int thread = static_cast<int>(blockIdx.x * block_threads + threadIdx.x);
  for (std::int64_t i = thread; i < count; i += gridDim.x * block_threads) f(i, thread);
}

__device__ void note(IndexFaults* faults, int thread, const IndexCheck& check, std::int64_t position,
                     std::int64_t value) {
  IndexFault& own = faults->of_thread[static_cast<std::size_t>(thread)];
  if (own.check.op == nullptr) own = {check, position, value};
  __threadfence_system();  // the host looks at `any` first
  faults->any = 1;
}

template <class I>
__global__ void __launch_bounds__(block_threads)
    indices_kernel(I* checked, const I* indices, std::int64_t count, std::int64_t limit, IndexCheck check,
                   IndexFaults* faults) {
  each_position(count, [&](std::int64_t i, int thread) {
    const I index = indices[i];
    const bool inside = index >= 0 && index < limit;
    checked[i] = inside ? index : 0;
    if (!inside) note(faults, thread, check, i, index);
  });
}

__global__ void __launch_bounds__(block_threads)
    offsets_kernel(std::int32_t* checked, const std::int32_t* offsets, std::int64_t count, std::int64_t rows,
                   std::int64_t longest, IndexCheck check, IndexFaults* faults) {
  each_position(count, [&](std::int64_t i, int thread) {
    const std::int64_t at = offsets[i], before = i == 0 ? 0 : offsets[i - 1];
    const bool right = at >= before && at - before <= (i == 0 ? 0 : longest) && (i + 1 < count || at == rows);
    checked[i] = static_cast<std::int32_t>(std::clamp(at, std::int64_t{0}, rows));
    if (!right) note(faults, thread, check, i, at);
  });
}

Grid grid_of(std::int64_t count) {
  constexpr std::int64_t most = IndexFaults::threads / block_threads;
  return {std::min(most, (count + block_threads - 1) / block_threads), {block_threads}};
}

}  // namespace

template <class I>
void check_indices(I* checked, const I* indices, std::int64_t count, std::int64_t limit, const IndexCheck& check,
                   IndexFaults* faults, Stream stream) {
  launch(check.op, grid_of(count), stream, indices_kernel<I>, checked, indices, count, limit, check, faults);
}

void check_offsets(std::int32_t* checked, const std::int32_t* offsets, std::int64_t count, std::int64_t rows,
                   std::int64_t longest, const IndexCheck& check, IndexFaults* faults, Stream stream) {
  launch(check.op, grid_of(count), stream, offsets_kernel, checked, offsets, count, rows, longest, check, faults);
}

template void check_indices(std::int32_t*, const std::int32_t*, std::int64_t, std::int64_t, const IndexCheck&,
                            IndexFaults*, Stream);
template void check_indices(std::int64_t*, const std::int64_t*, std::int64_t, std::int64_t, const IndexCheck&,
                            IndexFaults*, Stream);

}  // namespace clip::kernels::cuda
