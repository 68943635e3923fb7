#pragma once
// Reordering of dimensions, whatever the element type.
#include <array>
#include <cstddef>
#include <cstdint>

namespace clip::kernels::cpu {

/// y is x with its dimensions reordered: y's dimension d is x's dimension order[d]. `extent` are x's extents.
void permute(void* y, const void* x, std::size_t element_size, int rank, const std::array<std::int64_t, 8>& extent,
             const std::array<int, 8>& order);

}  // namespace clip::kernels::cpu
