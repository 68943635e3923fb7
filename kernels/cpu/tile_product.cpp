// A block of 4 rows by 1 to 4 vectors is summed in registers: each step takes a vector row of b and four numbers of a.
// Sixteen sums hide the latency of a multiply-add and fit the 32 registers of AVX-512; where registers are narrower and
// fewer, blocks are one vector wide.
#include "kernels/cpu/tile_product.hpp"

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

constexpr int block_rows = 4;

template <int vectors>
CLIP_INLINE void block_product(float* c, std::int64_t c_stride, const TileView& a, const float* b,
                               std::int64_t b_stride, std::int64_t depth, bool accumulate) {
  constexpr auto width = static_cast<std::size_t>(vectors);
  f32x16 s[block_rows][width];
  for (int i = 0; i < block_rows; ++i)
    for (int j = 0; j < vectors; ++j) s[i][j] = accumulate ? load(c + i * c_stride + j * lanes) : f32x16{};
  const float* left = a.data;
  for (std::int64_t k = 0; k < depth; ++k, left += a.col_stride, b += b_stride) {
    f32x16 right[width];
    for (int j = 0; j < vectors; ++j) right[j] = load(b + j * lanes);
    for (int i = 0; i < block_rows; ++i) {
      const float factor = left[i * a.row_stride];
      for (int j = 0; j < vectors; ++j) s[i][j] += factor * right[j];
    }
  }
  for (int i = 0; i < block_rows; ++i)
    for (int j = 0; j < vectors; ++j) store(c + i * c_stride + j * lanes, s[i][j]);
}

/// Columns in blocks of `vectors` vectors, then of one; all row blocks of a column block, whose part of b stays near.
template <int vectors>
CLIP_INLINE void blocked_product(float* c, std::int64_t c_stride, const TileView& a, const float* b,
                                 std::int64_t b_stride, std::int64_t rows, std::int64_t cols, std::int64_t depth,
                                 bool accumulate) {
  const auto columns = [&]<int width>(std::int64_t col) __attribute__((always_inline)) {
    for (std::int64_t row = 0; row < rows; row += block_rows)
      block_product<width>(c + row * c_stride + col, c_stride,
                           {a.data + row * a.row_stride, a.row_stride, a.col_stride}, b + col, b_stride, depth,
                           accumulate);
  };
  std::int64_t col = 0;
  for (; col + vectors * lanes <= cols; col += vectors * lanes) columns.template operator()<vectors>(col);
  if constexpr (vectors > 2)
    for (; col + 2 * lanes <= cols; col += 2 * lanes) columns.template operator()<2>(col);
  if constexpr (vectors > 1)
    for (; col < cols; col += lanes) columns.template operator()<1>(col);
}

}  // namespace

void tile_product(float* c, std::int64_t c_stride, TileView a, const float* b, std::int64_t b_stride, std::int64_t rows,
                  std::int64_t cols, std::int64_t depth, bool accumulate) {
  if (instruction_set() == InstructionSet::avx512)
    vectorized(0, rows, [&](std::int64_t, std::int64_t) {
      blocked_product<4>(c, c_stride, a, b, b_stride, rows, cols, depth, accumulate);
    });
  else
    vectorized(0, rows, [&](std::int64_t, std::int64_t) {
      blocked_product<1>(c, c_stride, a, b, b_stride, rows, cols, depth, accumulate);
    });
}

}  // namespace clip::kernels::cpu
