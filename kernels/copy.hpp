#pragma once
// Copies of blocks between dense arrays, whatever their element type.
#include <array>
#include <cstddef>
#include <cstdint>

namespace clip::kernels::cpu {

/// For each of `rows` rows copies `bytes` bytes; rows start `y_stride` and `x_stride` bytes apart.
void copy_rows(void* y, std::int64_t y_stride, const void* x, std::int64_t x_stride, std::int64_t bytes,
               std::int64_t rows);

/// y is x with its dimensions reordered: y's dimension d is x's dimension order[d]. `extent` are x's extents.
void permute(void* y, const void* x, std::size_t element_size, int rank, const std::array<std::int64_t, 8>& extent,
             const std::array<int, 8>& order);

}  // namespace clip::kernels::cpu
