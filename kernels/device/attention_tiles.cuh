#pragma once
// What attention's kernels share: which part of which sequence a block owns, which keys are visible and which
// probabilities dropped, and the dot products of rows, over the whole of dim.
#include "kernels/attention.hpp"
#include "kernels/device/dropout.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/row.cuh"
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
__device__ inline std::uint64_t low_bits(int n) { return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1; }

/// Which of `Count` keys are visible.
template <int Count>
struct Keys {
  int first;
  bool causal;
  std::uint64_t shown;  ///< bit j: the sequence has key first + j, and no mask hides it

  __device__ Keys(const AttentionShape& shape, const Block& block, int first_of_all)
      : first(first_of_all), causal(shape.causal), shown(low_bits(std::min(block.keys - first, +Count))) {
    if (shape.mask == nullptr) return;
    for (int half = 0; half < Count; half += 32) {
      const int j = first + half + static_cast<int>(threadIdx.x);
      const bool visible = j < block.keys && shape.mask[block.first_key + j] != 0;
      shown &= ~(std::uint64_t{~__ballot_sync(all_lanes, visible)} << half);
    }
  }
  /// How many there are up to the last one that is visible to queries up to `query`.
  __device__ int count(int query) const {
    const int last = 64 - __clzll(static_cast<long long>(shown));
    return causal ? std::min(last, query + 1 - first) : last;
  }
  __device__ bool all_visible(int query) const {
    return shown == low_bits(Count) && (!causal || first + Count - 1 <= query);
  }
  __device__ bool visible(int j, int query) const { return (shown >> j & 1) != 0 && (!causal || first + j <= query); }
};

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
template <class T, int Count>
__device__ MemoryRows<T> keys_of(T* array, const Keys<Count>& keys, const Attention& call, const Block& block) {
  return rows_of(array, block.first_key + keys.first, keys.shown, call, block);
}

/// What dropout multiplies the probabilities of a warp's tile by. Each lane draws 16 of its elements, and lanes
/// exchange what they drew.
class Factors {
 public:
  /// Of a tile [queries, keys], from query `query` of the sequence on.
  __device__ static Factors of_queries(const Attention& call, const Block& block, int query, int key) {
    const int lane = static_cast<int>(threadIdx.x);  // half a row
    Factors factors(call);
    if (!factors.dropping_) return factors;
    const unsigned drawn = call.dropped.kept(first_block(call, block, query + lane / 2, key + lane % 2 * 16), 4);
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      const int half = 2 * lane_row(e);
      factors.kept_[e / 2] = __shfl_sync(all_lanes, drawn, half) | __shfl_sync(all_lanes, drawn, half + 1) << 16;
    }
    return factors;
  }
  /// Of a tile [keys, queries].
  __device__ static Factors of_keys(const Attention& call, const Block& block, int key, int query) {
    const int lane = static_cast<int>(threadIdx.x);  // a column
    Factors factors(call);
    if (!factors.dropping_) return factors;
    const unsigned drawn = call.dropped.kept(first_block(call, block, query + lane, key), 4);
#pragma unroll
    for (int i = 0; i < other_rows / 4; ++i)
      factors.kept_[i] = __shfl_sync(all_lanes, drawn, lane_column(i / 2, i % 2));
    return factors;
  }
  __device__ float in_queries(int n, int e) const { return factor(kept_[e / 2], lane_column(n, e)); }
  __device__ float in_keys(int n, int e) const { return factor(kept_[2 * n + e % 2], lane_row(e)); }

 private:
  __device__ explicit Factors(const Attention& call)
      : dropping_(call.shape.dropout.p > 0), scale_(call.dropped.scale) {}
  __device__ static std::uint64_t first_block(const Attention& call, const Block& block, int query, int key) {
    const AttentionShape& s = call.shape;
    return static_cast<std::uint64_t>(((block.first_query + query) * s.heads + block.head) * s.row_blocks() + key / 4);
  }
  __device__ float factor(unsigned kept, int bit) const {
    return !dropping_ ? 1.0f : (kept >> bit & 1) != 0 ? scale_ : 0.0f;
  }

  bool dropping_;
  float scale_;
  unsigned kept_[other_rows / 4];
};

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
    __syncthreads();
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
    __syncthreads();
  }
  return panel;
}

}  // namespace clip::kernels::cuda
