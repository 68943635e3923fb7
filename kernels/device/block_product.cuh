#pragma once
// Products that a block of threads computes for some rows and all columns of the result, T = bf16 or f16. The left
// factor's rows are in shared memory, or pass through it beside the right factor, in chunks of 32 of the depth, of
// which some are under way while one is multiplied. A block has {32, product_warps} threads. The results are in
// registers: each warp has 64 columns of some strips of sixteen rows. Warps stand side by side as far as there are
// columns, the others below, in turns: so a few rows are shared out too.
#include "kernels/device/warp_tile.cuh"

namespace clip::kernels::cuda {

inline constexpr int product_warps = 8, product_threads = 32 * product_warps, chunk_depth = 32;

/// A block's [rows, Columns].
template <int Columns, int Strips>
struct BlockTile {
  static constexpr int across = Columns / panel_columns, down = product_warps / across,
                       rows = warp_rows * down * Strips;
  WarpTile<panel_columns> strips[Strips] = {};

  /// The first row of a warp's strip, and the first of its columns.
  __device__ static int row(int strip) { return warp_rows * (strip * down + static_cast<int>(threadIdx.y) / across); }
  __device__ static int column() { return static_cast<int>(threadIdx.y) % across * panel_columns; }
};

/// The 16 bytes at the end put eight rows into different banks.
template <class T, int Width>
using PaddedRow = T[Width + vector_of<T>];

/// Begins to fill [Rows, Width] of shared memory, with zeros past `rows` and `columns`. Both are multiples of 16 bytes.
template <int Rows, int Width, class T>
__device__ __forceinline__ void copy_chunk(PaddedRow<T, Width> (&to)[Rows], const T* from, std::int64_t stride,
                                           std::int64_t rows, int columns) {
  constexpr int vectors = Width / vector_of<T>, all = Rows * vectors;
  const int thread = static_cast<int>(threadIdx.y * 32 + threadIdx.x);
#pragma unroll
  for (int step = 0; step < all; step += product_threads) {
    const int row = (step + thread) / vectors, column = (step + thread) % vectors * vector_of<T>;
    if (row < Rows) copy_async(&to[row][column], from + row * stride + column, row < rows && column < columns);
  }
}

/// Calls begin(c) for the chunks before `Stages` - 1, each to begin copies into place c % Stages.
template <int Stages, class Begin>
__device__ __forceinline__ void begin_chunks(int chunks, const Begin& begin) {
#pragma unroll
  for (int c = 0; c < Stages - 1; ++c) {
    if (c < chunks) begin(c);
    commit_copies();
  }
}
/// Then use(c) for every chunk that has come, while begin(c + Stages - 1) has been called.
template <int Stages, class Begin, class Use>
__device__ __forceinline__ void each_chunk(int chunks, const Begin& begin, const Use& use) {
  for (int c = 0; c < chunks; ++c) {
    wait_for_groups<Stages - 2>();
    __syncthreads();  // everyone's share of chunk c has come, and c - 1 has been read
    if (c + Stages - 1 < chunks) begin(c + Stages - 1);
    commit_copies();
    use(c);
  }
}

/// sums += left right of a chunk, up to `columns`: `left` is [rows, chunk_depth] of rows `stride` apart;
/// load_right(b, k, n) gives what two products need of the right factor's rows k to k + 15 and columns n to n + 15.
template <class T, int Columns, int Strips, class LoadRight>
__device__ __forceinline__ void add_chunk(BlockTile<Columns, Strips>& sums, const T* left, int stride, int columns,
                                          const LoadRight& load_right) {
  if (sums.column() >= columns) return;
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int k = 0; k < chunk_depth; k += 16) {
    Packed<T, 2> b[panel_columns / 16][4];
#pragma unroll
    for (int n = 0; n < panel_columns / 16; ++n) load_right(b[n], k, sums.column() + 16 * n);
#pragma unroll
    for (int s = 0; s < Strips; ++s) {
      Packed<T, 2> a[4];
      load_matrices(a, left + (sums.row(s) + lane % 16) * stride + k + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < panel_columns / 16; ++n) {
        mma(sums.strips[s].at[2 * n], a, b[n][0], b[n][1]);
        mma(sums.strips[s].at[2 * n + 1], a, b[n][2], b[n][3]);
      }
    }
  }
}
/// The right factor's columns are rows in shared memory, `right` [Columns, chunk_depth].
template <class T, int Columns, int Strips>
__device__ __forceinline__ void add_dots(BlockTile<Columns, Strips>& sums, const T* left, int stride, int columns,
                                         const PaddedRow<T, chunk_depth> (&right)[Columns]) {
  const int lane = static_cast<int>(threadIdx.x);
  add_chunk(sums, left, stride, columns, [&](Packed<T, 2>(&b)[4], int k, int n) {
    load_matrices(b, &right[n + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);
  });
}
/// Its rows are, `right` [chunk_depth, Columns].
template <class T, int Columns, int Strips>
__device__ __forceinline__ void add_rows(BlockTile<Columns, Strips>& sums, const T* left, int stride, int columns,
                                         const PaddedRow<T, Columns> (&right)[chunk_depth]) {
  const int lane = static_cast<int>(threadIdx.x);
  add_chunk(sums, left, stride, columns, [&](Packed<T, 2>(&b)[4], int k, int n) {
    load_matrices_transposed(b, &right[k + lane % 16][n + lane / 16 * 8]);
  });
}

/// Writes the sums plus `bias`, if there is one, rounded, and zeros past `columns`. Everyone has read what was there.
template <class T, int Rows, int Columns, int Strips>
__device__ __forceinline__ void write_sums(PaddedRow<T, Columns> (&to)[Rows], const BlockTile<Columns, Strips>& sums,
                                           const T* bias, int columns) {
#pragma unroll
  for (int n = 0; n < panel_columns / 8; ++n) {
    const int column = sums.column() + lane_column(n, 0);
    const bool there = column < columns;
    const Floats<2> b = bias != nullptr && there ? load<2>(bias + column) : Floats<2>{};
#pragma unroll
    for (int s = 0; s < Strips; ++s)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const float* const pair = &sums.strips[s].at[n][e];
        store(&to[sums.row(s) + lane_row(e)][column],
              there ? round2<T>(pair[0] + b[0], pair[1] + b[1]) : Packed<T, 2>{});
      }
  }
}

}  // namespace clip::kernels::cuda
