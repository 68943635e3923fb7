#pragma once
// Products of panels of rows in shared memory, 64 columns wide, by four warps, each with sixteen rows of the result in
// registers, laid out as tensor cores leave it (kernels/device/mma.cuh). T = bf16 and f16 go there; float has the same
// layout, and FMA.
// A block's threads are {32, panel_warps}. Work is done in steps of sixteen rows and columns, and only as many as
// asked.
#include "kernels/device/async_copy.cuh"
#include "kernels/device/mma.cuh"

namespace clip::kernels::cuda {

inline constexpr int panel_columns = 64, warp_rows = 16, panel_warps = 4, panel_threads = 32 * panel_warps;

/// The 16 bytes at the end put eight rows into different banks.
template <class T>
using PanelRow = T[panel_columns + vector_of<T>];
template <class T, int Rows>
struct Panel {
  alignas(16) PanelRow<T> rows[Rows];
};

/// A warp's [16, Columns]: `at[n][e]` is the lane's in row lane_row(e), column lane_column(n, e).
template <int Columns>
struct WarpTile {
  float at[Columns / 8][4];
};
__device__ inline int lane_row(int e) { return static_cast<int>(threadIdx.x) / 4 + 8 * (e / 2); }
__device__ inline int lane_column(int n, int e) { return 8 * n + static_cast<int>(threadIdx.x) % 4 * 2 + e % 2; }
/// The first of the warp's rows of a panel.
__device__ inline int warp_row() { return static_cast<int>(threadIdx.y) * warp_rows; }

/// f(a number, n, e) for what the lane has of a tile.
template <int Columns, class F>
__device__ __forceinline__ void each(WarpTile<Columns>& tile, const F& f) {
#pragma unroll
  for (int n = 0; n < Columns / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) f(tile.at[n][e], n, e);
}

/// Sixteen rows as the left factor of products: in registers, or for float where every lane can read them.
template <class T, int Depth>
struct LeftFactor {
  Packed<T, 2> steps[Depth / 16][4];
};
template <int Depth>
struct LeftFactor<float, Depth> {
  const PanelRow<float>* rows;
};
/// Shared memory that tiles need to become left factors.
template <class T>
struct Strips {};
template <>
struct Strips<float> : Panel<float, warp_rows * panel_warps> {};

/// The warp's rows of a panel.
template <class T, int Rows>
__device__ __forceinline__ LeftFactor<T, panel_columns> left_factor(const Panel<T, Rows>& panel) {
  LeftFactor<T, panel_columns> factor;
  if constexpr (sizeof(T) == 4) {
    factor.rows = panel.rows + warp_row();
  } else {
    const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < panel_columns / 16; ++k)
      load_matrices(factor.steps[k], &panel.rows[warp_row() + lane % 16][16 * k + lane / 16 * 8]);
  }
  return factor;
}

/// A tile, rounded to T. The next one takes its place.
template <class T, int Columns>
__device__ __forceinline__ LeftFactor<T, Columns> left_factor(Strips<T>& strips, const WarpTile<Columns>& tile) {
  LeftFactor<T, Columns> factor;
  if constexpr (sizeof(T) == 4) {
    PanelRow<float>* const rows = strips.rows + warp_row();
    __syncwarp();  // the one before has been read
#pragma unroll
    for (int n = 0; n < Columns / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; e += 2)
        store(&rows[lane_row(e)][lane_column(n, e)], round2<float>(tile.at[n][e], tile.at[n][e + 1]));
    __syncwarp();
    factor.rows = rows;
  } else {
#pragma unroll
    for (int k = 0; k < Columns / 16; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const pair = &tile.at[2 * k + i / 2][i % 2 * 2];
        factor.steps[k][i] = round2<T>(pair[0], pair[1]);
      }
  }
  return factor;
}

/// sum += left right^T: of the first `depth` columns of both, with the first `columns` rows of `right`.
template <class T, int Columns>
__device__ __forceinline__ void add_dots(WarpTile<Columns>& sum, const LeftFactor<T, panel_columns>& left,
                                         const Panel<T, Columns>& right, int depth, int columns) {
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int n = 0; n < Columns / 8; n += 2) {
    if (8 * n >= columns) continue;
#pragma unroll
    for (int k = 0; k < panel_columns / 16; ++k) {
      if (16 * k >= depth) continue;
      Packed<T, 2> b[4];
      load_matrices(b, &right.rows[8 * n + lane / 16 * 8 + lane % 8][16 * k + lane / 8 % 2 * 8]);
      mma(sum.at[n], left.steps[k], b[0], b[1]);
      mma(sum.at[n + 1], left.steps[k], b[2], b[3]);
    }
  }
}
template <int Columns>
__device__ __forceinline__ void add_dots(WarpTile<Columns>& sum, const LeftFactor<float, panel_columns>& left,
                                         const Panel<float, Columns>& right, int depth, int columns) {
  for (int k = 0; k < std::min(depth, +panel_columns); k += 4) {
    const Floats<4> a[2] = {load<4>(&left.rows[lane_row(0)][k]), load<4>(&left.rows[lane_row(2)][k])};
#pragma unroll
    for (int n = 0; n < Columns / 8; ++n) {
      if (8 * n >= columns) continue;
      const Floats<4> b[2] = {load<4>(&right.rows[lane_column(n, 0)][k]), load<4>(&right.rows[lane_column(n, 1)][k])};
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int i = 0; i < 4; ++i) sum.at[n][i] += a[i / 2][e] * b[i % 2][e];
    }
  }
}

/// sum += left right: of the first `depth` columns of `left` and rows of `right`, and its first `columns`.
template <class T, int Depth>
__device__ __forceinline__ void add_rows(WarpTile<panel_columns>& sum, const LeftFactor<T, Depth>& left,
                                         const Panel<T, Depth>& right, int depth, int columns) {
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int k = 0; k < Depth / 16; ++k) {
    if (16 * k >= depth) continue;
#pragma unroll
    for (int n = 0; n < panel_columns / 8; n += 2) {
      if (8 * n >= columns) continue;
      Packed<T, 2> b[4];
      load_matrices_transposed(b, &right.rows[16 * k + lane % 16][8 * n + lane / 16 * 8]);
      mma(sum.at[n], left.steps[k], b[0], b[1]);
      mma(sum.at[n + 1], left.steps[k], b[2], b[3]);
    }
  }
}
template <int Depth>
__device__ __forceinline__ void add_rows(WarpTile<panel_columns>& sum, const LeftFactor<float, Depth>& left,
                                         const Panel<float, Depth>& right, int depth, int columns) {
#pragma unroll 4
  for (int k = 0; k < std::min(depth, +Depth); ++k) {
    const float a[2] = {left.rows[lane_row(0)][k], left.rows[lane_row(2)][k]};
#pragma unroll
    for (int n = 0; n < panel_columns / 8; ++n) {
      if (8 * n >= columns) continue;
      const Floats<2> b = load<2>(&right.rows[k][lane_column(n, 0)]);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum.at[n][i] += a[i / 2] * b[i % 2];
    }
  }
}

/// Up to 64 rows of an array in memory, `stride` elements apart.
template <class T>
struct MemoryRows {
  T* first;
  std::int64_t stride;
  std::uint64_t there;  ///< bit r: whether there is row r
  int columns;
  bool vectors;  ///< 16 bytes can be read and written at once
  __device__ bool has(int row, int column) const { return (there >> row & 1) != 0 && column < columns; }
};

/// Begins to fill a panel with rows and their columns from `from` on, and zeros for those that are not there. By the
/// whole block, which then awaits it.
template <class T, int Rows>
__device__ __forceinline__ void read_panel(Panel<T, Rows>& panel, const MemoryRows<const T>& rows, int from) {
  constexpr int N = vector_of<T>, vectors = panel_columns / N;
  const int thread = static_cast<int>(threadIdx.y * 32 + threadIdx.x);
  if (rows.vectors) {
    constexpr int step = panel_threads / vectors;
    const int row = thread / vectors, col = thread % vectors * N;
    const T* at = rows.first + row * rows.stride + from + col;
    std::uint64_t there = from + col < rows.columns ? rows.there >> row : 0;
#pragma unroll
    for (int r = 0; r < Rows; r += step, at += step * rows.stride, there >>= step)
      copy_async(&panel.rows[row + r][col], at, (there & 1) != 0);
  } else {
    for (int i = thread; i < Rows * panel_columns; i += panel_threads) {
      const int row = i / panel_columns, col = i % panel_columns;
      panel.rows[row][col] = rows.has(row, from + col) ? rows.first[row * rows.stride + from + col] : T{};
    }
  }
}
__device__ inline void await_panels() {
  wait_for_copies();
  __syncthreads();
}

/// Writes the warp's rows of what a tile is times `scale`, from column `from` on, by way of its rows of a panel.
template <class T, int Rows>
__device__ __forceinline__ void write_tile(const MemoryRows<T>& rows, int from, Panel<T, Rows>& panel,
                                           const WarpTile<panel_columns>& tile, float scale) {
  constexpr int N = vector_of<T>, vectors = panel_columns / N;
  const int lane = static_cast<int>(threadIdx.x);
  __syncwarp();  // the rows have been read
#pragma unroll
  for (int n = 0; n < panel_columns / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; e += 2)
      store(&panel.rows[warp_row() + lane_row(e)][lane_column(n, e)],
            round2<T>(tile.at[n][e] * scale, tile.at[n][e + 1] * scale));
  __syncwarp();
  if (rows.vectors) {
    constexpr int step = 32 / vectors;
    const int row = warp_row() + lane / vectors, col = lane % vectors * N;
    T* at = rows.first + row * rows.stride + from + col;
    std::uint64_t there = from + col < rows.columns ? rows.there >> row : 0;
#pragma unroll
    for (int r = 0; r < warp_rows; r += step, at += step * rows.stride, there >>= step)
      if ((there & 1) != 0) store(at, load_packed<N>(&panel.rows[row + r][col]));
  } else {
    for (int i = lane; i < warp_rows * panel_columns; i += 32) {
      const int row = warp_row() + i / panel_columns, col = i % panel_columns;
      if (rows.has(row, from + col)) rows.first[row * rows.stride + from + col] = panel.rows[row][col];
    }
  }
}

}  // namespace clip::kernels::cuda
