#pragma once
// Many tensors that one launch goes over, however small they are.
#include <cstddef>
#include <cstdint>

#include "kernels/stream.hpp"

namespace clip::kernels::cuda {

/// Blocks of threads that a tensor of `count` elements takes.
constexpr std::int64_t list_blocks(std::int64_t count) { return (count + 4095) / 4096; }

/// A description of a tensor, with its number of elements as `count`, and the sum of list_blocks over those before.
template <class T>
struct Listed {
  T tensor;
  std::int64_t first;
};

template <class T>
struct TensorList {
  const Listed<T>* each;  ///< [count], in the GPU's memory
  std::int64_t count, blocks;
};

/// Writes bytes of the host, a multiple of 8, to a GPU's memory. They travel as arguments of launches, so that a graph
/// can record it, and then writes the same at each replay.
void write_arguments(void* to, const void* from, std::size_t bytes, Stream stream);

}  // namespace clip::kernels::cuda
