#pragma once
// What attention's kernels share: which part of which sequence a block owns, which keys are visible and which
// probabilities dropped, and the dot products of rows, over the whole of dim.
#include "kernels/attention.hpp"
#include "kernels/device/dropout.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/device/warp_tile.cuh"

namespace clip::kernels::cuda {

/// A block owns 64 rows, queries or keys, and walks over the others 32 at a time: more would not fit into registers.
inline constexpr int own_rows = warp_rows * panel_warps, other_rows = 32;

/// What attention's kernels are told.
struct Attention {
  AttentionShape shape;
  Dropped dropped;
  bool vectors;
};

template <class T, class... Arrays>
Attention call_of(const AttentionShape& shape, const Arrays*... arrays) {
  return {shape, Dropped(shape.dropout), in_vectors<T>(shape.dim, arrays...)};
}

constexpr std::int64_t steps(std::int64_t n, std::int64_t step) { return (n + step - 1) / step; }

/// One head of one sequence, and the part of it that a block owns.
struct Block {
  std::int64_t sequence;
  int head, first, column;              // the first of its 64 rows and of its 64 columns
  std::int64_t first_query, first_key;  // rows of q, y and lse, and of k and v
  int queries, keys;

  /// `rows`: of the longest sequence.
  __device__ Block(const AttentionShape& shape, std::int64_t rows) {
    unsigned index = blockIdx.x;
    const auto take = [&](std::int64_t count) {
      const unsigned rest = index % static_cast<unsigned>(count);
      index /= static_cast<unsigned>(count);
      return static_cast<int>(rest);
    };
    first = take(steps(rows, own_rows)) * own_rows;
    column = take(steps(shape.dim, panel_columns)) * panel_columns;
    head = take(shape.heads);
    sequence = index;
    first_query = sequence * shape.queries;
    first_key = sequence * shape.keys;
    queries = static_cast<int>(shape.queries);
    keys = static_cast<int>(shape.keys);
    if (shape.offsets == nullptr) return;
    first_key = shape.offsets[sequence];
    keys = shape.offsets[sequence + 1] - shape.offsets[sequence];
    if (!shape.queries_packed) return;
    first_query = first_key;
    queries = keys;
  }
};
inline Grid grid_of(const AttentionShape& shape, std::int64_t rows, std::size_t shared_bytes) {
  return {shape.sequences * shape.heads * steps(rows, own_rows) * steps(shape.dim, panel_columns),
          {32, panel_warps},
          shared_bytes};
}

/// Bits 0 to n - 1.
__device__ inline std::uint64_t low_bits(int n) {
  return n >= 64 ? ~std::uint64_t{0} : n <= 0 ? 0 : (std::uint64_t{1} << n) - 1;
}

/// Bit j: whether the sequence has key first + j and no mask hides it; of 64 keys.
__device__ inline std::uint64_t shown_keys(const AttentionShape& shape, const Block& block, int first) {
  std::uint64_t shown = low_bits(block.keys - first);
  if (shape.mask == nullptr) return shown;
  for (int half = 0; half < 64; half += 32) {
    const int key = first + half + static_cast<int>(threadIdx.x);
    const bool hidden = key >= block.keys || shape.mask[block.first_key + key] == 0;
    shown &= ~(std::uint64_t{__ballot_sync(all_lanes, hidden)} << half);
  }
  return shown;
}
/// Bit j: whether it is shown and, with causality, not after `query`; of 32 keys.
__device__ inline unsigned seen_keys(const AttentionShape& shape, std::uint64_t shown, int first, int query) {
  return static_cast<unsigned>(shape.causal ? shown & low_bits(query + 1 - first) : shown);
}

/// For each column of a lane's two rows of a warp's tile, a bit.
struct ColumnBits {
  unsigned of_row[2];
  __device__ bool at(int n, int e) const { return (of_row[e / 2] >> lane_column(n, e) & 1) != 0; }
};

/// Of a tile [queries, keys]: what is seen.
__device__ inline ColumnBits seen_by_queries(const AttentionShape& shape, std::uint64_t shown, int key, int query) {
  return {{seen_keys(shape, shown, key, query + lane_row(0)), seen_keys(shape, shown, key, query + lane_row(2))}};
}
/// Of a tile [keys, queries], whose rows' keys `shown` tells of.
__device__ inline ColumnBits seen_of_keys(const AttentionShape& shape, unsigned shown, int key, int query) {
  ColumnBits bits;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane_row(2 * r);
    const auto later = shape.causal ? ~static_cast<unsigned>(low_bits(key + row - query)) : ~0u;
    bits.of_row[r] = (shown >> row & 1) != 0 ? later : 0;
  }
  return bits;
}

/// The Philox block of keys `key` to `key` + 3.
__device__ inline std::uint64_t dropout_block(const AttentionShape& s, const Block& block, int query, int key) {
  return static_cast<std::uint64_t>(((block.first_query + query) * s.heads + block.head) * s.row_blocks() + key / 4);
}
/// Of a tile [queries, keys]: what dropout keeps. Each lane draws half a row.
__device__ inline ColumnBits kept_of_queries(const Attention& call, const Block& block, int query, int key) {
  const int lane = static_cast<int>(threadIdx.x);
  const std::uint64_t first = dropout_block(call.shape, block, query + lane / 2, key + lane % 2 * 16);
  const unsigned drawn = call.dropped.kept(first, 4);
  ColumnBits bits;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int half = 2 * lane_row(2 * r);
    bits.of_row[r] = __shfl_sync(all_lanes, drawn, half) | __shfl_sync(all_lanes, drawn, half + 1) << 16;
  }
  return bits;
}
/// Of a tile [keys, queries]. Each lane draws a column.
__device__ inline ColumnBits kept_of_keys(const Attention& call, const Block& block, int key, int query) {
  const std::uint64_t first = dropout_block(call.shape, block, query + static_cast<int>(threadIdx.x), key);
  const unsigned drawn = call.dropped.kept(first, 4);
  ColumnBits bits;
#pragma unroll
  for (int row = 0; row < warp_rows; ++row) {
    const unsigned columns = __ballot_sync(all_lanes, (drawn >> row & 1) != 0);
    if (row % 8 == lane_row(0)) bits.of_row[row / 8] = columns;
  }
  return bits;
}
__device__ __forceinline__ void drop(WarpTile<other_rows>& tile, const ColumnBits& kept, float scale) {
  each(tile, [&](float& x, int n, int e) { x = kept.at(n, e) ? x * scale : 0.0f; });
}

/// Rows of a head, from row `row` of the array [rows, heads, dim] on.
template <class T>
__device__ MemoryRows<T> rows_of(T* array, std::int64_t row, std::uint64_t there, const Attention& call,
                                 const Block& block) {
  const AttentionShape& s = call.shape;
  return {array + (row * s.heads + block.head) * s.dim, s.heads * s.dim, there, static_cast<int>(s.dim), call.vectors};
}
template <class T>
__device__ MemoryRows<T> queries_of(T* array, int first, const Attention& call, const Block& block) {
  return rows_of(array, block.first_query + first, low_bits(block.queries - first), call, block);
}
template <class T>
__device__ MemoryRows<T> keys_of(T* array, int first, std::uint64_t there, const Attention& call, const Block& block) {
  return rows_of(array, block.first_key + first, there, call, block);
}

template <class T, int Count>
struct Panels {
  Panel<T, own_rows> own[Count];
  Panel<T, other_rows> other[Count];
};

/// sum[i] = own rows other rows^T, for `columns` of the other rows. `fresh`: own rows are not in their panels yet.
/// Panels that are not own may be written to when this is called; afterwards, where dim <= 64, they hold the other
/// rows.
template <class T, int Count>
__device__ __forceinline__ void dots(WarpTile<other_rows> (&sum)[Count], Panels<T, Count>& panels,
                                     const MemoryRows<const T> (&own)[Count], const MemoryRows<const T> (&other)[Count],
                                     bool fresh, int columns) {
  const int dim = own[0].columns;
  for (int i = 0; i < Count; ++i) sum[i] = {};
  for (int from = 0;; from += panel_columns) {
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      if (fresh || dim > panel_columns) read_panel(panels.own[i], own[i], from);
      read_panel(panels.other[i], other[i], from);
    }
    await_panels();
#pragma unroll
    for (int i = 0; i < Count; ++i) add_dots(sum[i], left_factor(panels.own[i]), panels.other[i], dim - from, columns);
    if (from + panel_columns >= dim) return;
    __syncthreads();
  }
}

/// After `dots`: the block's columns of other rows, in their panel.
template <class T>
__device__ __forceinline__ const Panel<T, other_rows>& columns_of(Panel<T, other_rows>& panel,
                                                                  const MemoryRows<const T>& rows, int column) {
  if (rows.columns > panel_columns) {
    __syncthreads();
    read_panel(panel, rows, column);
    await_panels();
  }
  return panel;
}

}  // namespace clip::kernels::cuda
