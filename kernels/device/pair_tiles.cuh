#pragma once
// What the contrastive losses are made of: tiles of 64 x 64 dot products between the rows of matrices [n, d] in f32,
// and products of such tiles with rows. A block of 256 threads owns 64 items and walks over all others, so that sums
// along a row stay with one block: no atomics, no matrix [n, n], and the same results from run to run. Thread (x, y) of
// 16 x 16 has rows 4 y to 4 y + 3 of a tile and its columns x, x + 16, x + 32, x + 48.
#include "kernels/device/contrastive.cuh"

namespace clip::kernels::cuda {

inline constexpr int tile_side = 64, tile_depth = 16, tile_threads = 256;

/// `count` rows of a matrix [n, d].
struct Items {
  std::int64_t n, d;
  bool vectors;  ///< 16 bytes can be read at once
};

/// Shared memory of a block: parts of rows, `Panels` deep or half as many wide ones, and `Tiles` tiles.
template <int Panels, int Tiles>
struct TileMemory {
  union {
    float deep[Panels][tile_side][tile_depth + 4];
    float wide[(Panels + 1) / 2][tile_side][tile_side + 4];
  };
  float tile[Tiles][tile_side][tile_side + 1];
};

struct TilePlace {
  int x = static_cast<int>(threadIdx.x % 16), y = static_cast<int>(threadIdx.x / 16);
  __device__ int row(int r) const { return 4 * y + r; }
  __device__ int col(int c) const { return x + 16 * c; }
};

/// What a thread has of a tile.
struct TilePart {
  float at[4][4];
};

/// Copies columns `from` to `from` + width of the 64 rows from `first` on; 0 outside the matrix.
template <int Stride>
__device__ void copy_panel(float (&panel)[tile_side][Stride], int width, const float* x, std::int64_t first,
                           std::int64_t from, const Items& items) {
  for (int i = static_cast<int>(threadIdx.x); i < tile_side * width / 4; i += tile_threads) {
    const int row = i / (width / 4), col = i % (width / 4) * 4;
    const std::int64_t item = first + row, k = from + col;
    Floats<4> v{};
    if (item < items.n && items.vectors && k < items.d) {
      v = load<4>(x + item * items.d + k);
    } else if (item < items.n) {
      for (int e = 0; e < 4; ++e)
        if (k + e < items.d) v[e] = x[item * items.d + k + e];
    }
    store(&panel[row][col], v);
  }
}

/// sum += a b^T over the depth of two panels.
template <int Stride>
__device__ __forceinline__ void add_products(TilePart& sum, const float (&a)[tile_side][Stride],
                                             const float (&b)[tile_side][Stride]) {
  const TilePlace place;
#pragma unroll
  for (int k = 0; k < tile_depth; k += 4) {
    Floats<4> rows[4], cols[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) rows[r] = load<4>(&a[place.row(r)][k]);
#pragma unroll
    for (int c = 0; c < 4; ++c) cols[c] = load<4>(&b[place.col(c)][k]);
#pragma unroll
    for (int e = 0; e < 4; ++e)
#pragma unroll
      for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) sum.at[r][c] += rows[r][e] * cols[c][e];
  }
}

/// sum[r][e] += row r of the tile times column 4 x + e of the wide panel.
template <int TileStride, int Stride>
__device__ __forceinline__ void add_rows(TilePart& sum, const float (&tile)[tile_side][TileStride],
                                         const float (&panel)[tile_side][Stride]) {
  const TilePlace place;
#pragma unroll 4
  for (int j = 0; j < tile_side; ++j) {
    const Floats<4> v = load<4>(&panel[j][4 * place.x]);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float g = tile[place.row(r)][j];
#pragma unroll
      for (int e = 0; e < 4; ++e) sum.at[r][e] += g * v[e];
    }
  }
}

/// Writes or, after the first tile, adds what `add_rows` summed to rows `first`… and columns `from`… of y.
__device__ inline void put_rows(float* y, const TilePart& sum, std::int64_t first, std::int64_t from,
                                const Items& items, bool add) {
  const TilePlace place;
  for (int r = 0; r < 4; ++r) {
    const std::int64_t item = first + place.row(r);
    for (int e = 0; e < 4; ++e) {
      const std::int64_t k = from + 4 * place.x + e;
      if (item >= items.n || k >= items.d) continue;
      float& out = y[item * items.d + k];
      out = add ? out + sum.at[r][e] : sum.at[r][e];
    }
  }
}

using Lse = LogSumExp<BaseE>;
/// Combines the parts of a row, which 16 neighbouring lanes have; returns what the thread's other sums, made with its
/// own top, are multiplied by.
__device__ inline float combine_over_row(Lse& part) {
  float top = part.top;
  warp_max<16>(top);
  const float factor = part.raise(top);
  warp_sum<16>(part.sum);
  return factor;
}

}  // namespace clip::kernels::cuda
