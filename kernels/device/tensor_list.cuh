#pragma once
// A block of threads has 4096 elements of one tensor of a list, which it finds by bisecting the numbers of the tensors'
// first blocks.
#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/tensor_list.hpp"

namespace clip::kernels::cuda {

inline constexpr int list_threads = 256, in_list_block = 4096;
static_assert(list_blocks(in_list_block) == 1 && list_blocks(in_list_block + 1) == 2);

/// The elements [begin, end) of tensor `index` that the block has.
struct ListShare {
  std::int64_t index, begin, end;

  template <class T>
  __device__ explicit ListShare(const TensorList<T>& list) {
    const std::int64_t block = blockIdx.x;
    std::int64_t low = 0, high = list.count;  // that of low begins at `block` or before, that of high after
    while (high - low > 1) {
      const std::int64_t middle = (low + high) / 2;
      (list.each[middle].first <= block ? low : high) = middle;
    }
    index = low;
    begin = (block - list.each[low].first) * in_list_block;
    end = std::min<std::int64_t>(begin + in_list_block, list.each[low].tensor.count);
  }

  /// Whether the block is full, and vectors of 16 bytes fit these arrays of floats.
  template <class... Arrays>
  __device__ bool in_vectors(const Arrays*... arrays) const {
    return end - begin == in_list_block && ((reinterpret_cast<std::uintptr_t>(arrays) % 16 == 0) && ...);
  }
};

template <class T>
Grid list_grid(const TensorList<T>& list, std::size_t shared_bytes = 0) {
  return {list.blocks, {list_threads}, shared_bytes};
}

}  // namespace clip::kernels::cuda
