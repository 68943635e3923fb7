#pragma once
// Sums over the rows of [rows, cols], for each column, are made by blocks of rows and then over the blocks. How many of
// them there are depends on the rows alone, not on the number of threads or the GPU, so sums do not either.
#include <cstdint>

namespace clip::kernels::cpu {

constexpr std::int64_t column_sum_blocks(std::int64_t rows) {
  return rows >= 64 * 16 ? 64 : rows > 16 ? (rows + 15) / 16 : 1;
}

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

/// Up to 8 for each of an H100's 132 multiprocessors.
constexpr std::int64_t column_sum_blocks(std::int64_t rows) { return rows > 8 * 1056 ? 1056 : (rows + 7) / 8; }

}  // namespace clip::kernels::cuda
