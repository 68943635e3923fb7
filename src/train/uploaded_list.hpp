#pragma once
#include <cstdint>
#include <vector>

#include "clip/core/tensor.hpp"
#include "kernels/tensor_list.hpp"

namespace clip {

/// A list of tensors in a GPU's memory, in the order of its stream; a graph may record it.
template <class T>
struct UploadedList {
  Tensor memory;
  kernels::cuda::TensorList<T> list;

  UploadedList(const std::vector<T>& tensors, const Device& device, kernels::cuda::Stream stream) {
    using Listed = kernels::cuda::Listed<T>;
    std::vector<Listed> each;
    std::int64_t blocks = 0;
    for (const T& tensor : tensors) {
      each.push_back({tensor, blocks});
      blocks += kernels::cuda::list_blocks(tensor.count);
    }
    memory = Tensor({static_cast<std::int64_t>(each.size() * sizeof(Listed))}, dtype::u8, device);
    kernels::cuda::write_arguments(memory.mutable_raw(), each.data(), memory.bytes(), stream);
    list = {static_cast<const Listed*>(memory.raw()), std::ssize(each), blocks};
  }
};

}  // namespace clip
