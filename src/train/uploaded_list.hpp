#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "clip/core/tensor.hpp"
#include "kernels/tensor_list.hpp"

namespace clip {

/// The bytes of plain structs in a GPU's memory.
template <class T>
Tensor upload(const std::vector<T>& structs, const Device& device) {
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(structs.data()), structs.size() * sizeof(T));
  return Tensor::from(bytes, {std::ssize(bytes)}, device);
}

/// A list of tensors in a GPU's memory: kept from step to step while it stays the same.
template <class T>
class UploadedList {
 public:
  kernels::cuda::TensorList<T> operator()(std::vector<T> tensors, const Device& device) {
    if (!there_.defined() || tensors != tensors_) {
      std::vector<std::int64_t> first;
      std::int64_t blocks = 0;
      for (const T& tensor : tensors) {
        first.push_back(blocks);
        blocks += kernels::cuda::list_blocks(tensor.count);
      }
      const Tensor there = upload(tensors, device), firsts = upload(first, device);  // may throw: nothing has changed
      there_ = there;
      first_ = firsts;
      blocks_ = blocks;
      tensors_ = std::move(tensors);
    }
    return {reinterpret_cast<const T*>(there_.data<std::uint8_t>()),
            reinterpret_cast<const std::int64_t*>(first_.data<std::uint8_t>()), std::ssize(tensors_), blocks_};
  }

 private:
  std::vector<T> tensors_;
  Tensor there_, first_;
  std::int64_t blocks_ = 0;
};

}  // namespace clip
