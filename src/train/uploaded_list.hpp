#pragma once
#include <cstdint>
#include <vector>

#include "clip/core/tensor.hpp"
#include "kernels/tensor_list.hpp"

namespace clip {

/// The bytes of plain structs in a GPU's memory, in the order of its stream; a graph may record it.
template <class T>
Tensor upload(const std::vector<T>& structs, const Device& device, kernels::cuda::Stream stream) {
  Tensor there({static_cast<std::int64_t>(structs.size() * sizeof(T))}, dtype::u8, device);
  kernels::cuda::write_arguments(there.mutable_raw(), structs.data(), there.bytes(), stream);
  return there;
}

/// The same of a list of tensors.
template <class T>
struct UploadedList {
  Tensor tensors, first;
  kernels::cuda::TensorList<T> list;

  UploadedList(const std::vector<T>& some, const Device& device, kernels::cuda::Stream stream) {
    std::vector<std::int64_t> before;
    std::int64_t blocks = 0;
    for (const T& tensor : some) {
      before.push_back(blocks);
      blocks += kernels::cuda::list_blocks(tensor.count);
    }
    tensors = upload(some, device, stream);
    first = upload(before, device, stream);
    list = {static_cast<const T*>(tensors.raw()), static_cast<const std::int64_t*>(first.raw()), std::ssize(some),
            blocks};
  }
};

}  // namespace clip
