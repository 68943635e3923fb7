#pragma once
// Products of small f32 tiles that lie in the caches: what attention is made of.
#include <cstdint>

namespace clip::kernels::cpu {

/// A matrix in memory: element (row, col) is at data[row * row_stride + col * col_stride], so it can be read
/// transposed.
struct TileView {
  const float* data;
  std::int64_t row_stride, col_stride;
};

/// c [rows, cols] = a [rows, depth] b [depth, cols], added to c where `accumulate`. Rows of b and c are contiguous and
/// `b_stride` and `c_stride` apart. `rows` is a multiple of 4 and `cols` of 16; tiles are padded to that. Runs on this
/// thread.
void tile_product(float* c, std::int64_t c_stride, TileView a, const float* b, std::int64_t b_stride, std::int64_t rows,
                  std::int64_t cols, std::int64_t depth, bool accumulate);

}  // namespace clip::kernels::cpu
