#pragma once
// Reordering of dimensions, whatever the element type.
#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/stream.hpp"

namespace clip::kernels {

/// A permutation of a dense array x to a dense y, as y's dimensions: neighbours that stay neighbours are merged, those
/// of one element left out, so that few remain; at least one.
struct Permutation {
  struct Axis {
    std::int64_t extent = 1, x_stride = 1, y_stride = 1;
  };
  int rank = 0;
  Axis axes[8];

  /// y's dimension d is x's dimension order[d]; `extent` are x's extents.
  Permutation(int dims, const std::array<std::int64_t, 8>& extent, const std::array<int, 8>& order);
};

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// y is x, elements of 1, 2, 4 or 8 bytes, with its dimensions reordered: y's dimension d is x's dimension order[d].
/// `extent` are x's extents.
void permute(void* y, const void* x, std::size_t element_size, int rank, const std::array<std::int64_t, 8>& extent,
             const std::array<int, 8>& order);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// The same.
void permute(void* y, const void* x, std::size_t element_size, int rank, const std::array<std::int64_t, 8>& extent,
             const std::array<int, 8>& order, Stream stream);

}  // namespace clip::kernels::cuda
