// FlashAttention on tiles of 64 by 32 (kernels/device/attention_tiles.cuh), by tensor cores or, for float, FMA. Scores
// are made anew for every use and stay in registers; exponentials are base 2, of scores times log2(e).
//   forward         a block owns 64 queries of a head and walks over the keys with an online softmax: a lane keeps the
//                   maximum and its share of the sum of its two rows
//   row_products    delta_i = dy_i . y_i
//   query_gradient  a block owns 64 queries and walks over keys:  S = Q K^T, dP = dY V^T;  dQ += dS K
//   key_gradients   a block owns 64 keys and walks over queries:  S^T = K Q^T, dP^T = V dY^T;
//                   dV += P^T dY, dK += dS^T Q
// A score is thus computed twice in backward, and sums need no atomics: results are the same from run to run. As left
// factors of products, P and dS are rounded to T. Tiles whose keys are all hidden, by the mask, by causality or because
// the sequence is shorter, are skipped; so are the sixteens of a tile after the last that is visible.
// A block also owns only 64 columns of its results; where dim is larger, there are more blocks, which all compute the
// scores. Where dim is at most 64, that is 4 dim operations for each pair of query and key forward, 14 dim backward.
#include <cmath>
#include <limits>

#include "kernels/device/attention_tiles.cuh"
#include "kernels/device/exp2.cuh"
#include "kernels/device/row.cuh"

namespace clip::kernels::cuda {
namespace {

template <class T>
struct ForwardMemory {
  Panels<T, 1> panels;
  Panel<T, other_rows> values;
  Strips<T> strips;
};

template <class T>
__global__ void __launch_bounds__(panel_threads, sizeof(T) == 4 ? 3 : 4)
    forward(T* y, float* lse, const T* q, const T* k, const T* v, Attention call) {
  auto& memory = shared_as<ForwardMemory<T>>();
  const AttentionShape& shape = call.shape;
  const Block block(shape, shape.queries);
  if (block.first >= block.queries) return;
  const int query = block.first + warp_row(), columns = static_cast<int>(shape.dim) - block.column;
  const int end = shape.causal ? std::min(block.keys, block.first + own_rows) : block.keys;
  const float scale = shape.scale * log2_e;

  const MemoryRows<const T> own[] = {queries_of(q, block.first, call, block)};
  WarpTile<panel_columns> sum{};
  float top[2], total[2] = {};
  top[0] = top[1] = std::numeric_limits<float>::lowest();  // finite: infinities would make NaN
  bool fresh = true;
  for (int first = 0; first < end; first += other_rows) {
    const std::uint64_t shown = shown_keys(shape, block, first);
    if (static_cast<unsigned>(shown) == 0) continue;
    const int count = query < block.queries ? 32 - __clz(seen_keys(shape, shown, first, query + warp_rows - 1)) : 0;
    WarpTile<other_rows> tile[1];
    __syncthreads();  // panels have been read
    read_panel(memory.values, keys_of(v, first, shown, call, block), block.column);
    dots(tile, memory.panels, own, {keys_of(k, first, shown, call, block)}, fresh, count);
    fresh = false;

    const ColumnBits seen = seen_by_queries(shape, shown, first, query);
    float now[2] = {top[0], top[1]};
    each(tile[0], [&](float& s, int n, int e) {
      s = seen.at(n, e) ? s * scale : -HUGE_VALF;
      now[e / 2] = fmaxf(now[e / 2], s);
    });
    for (int r = 0; r < 2; ++r) {
      warp_max<4>(now[r]);
      top[r] = exp2_approximately(top[r] - now[r]);  // what sums so far are scaled by
      total[r] *= top[r];
    }
    each(sum, [&](float& s, int, int e) { s *= top[e / 2]; });
    each(tile[0], [&](float& p, int, int e) {
      p = exp2_approximately(p - now[e / 2]);
      total[e / 2] += p;
    });
    if (shape.dropout.p > 0) drop(tile[0], kept_of_queries(call, block, query, first), call.dropped.scale);
    add_rows(sum, left_factor(memory.strips, tile[0]), memory.values, count, columns);
    top[0] = now[0], top[1] = now[1];
  }

  for (int r = 0; r < 2; ++r) {
    warp_sum<4>(total[r]);
    const int row = query + lane_row(2 * r);
    const bool blind = total[r] == 0.0f;
    if (threadIdx.x % 4 == 0 && block.column == 0 && row < block.queries)
      lse[(block.first_query + row) * shape.heads + block.head] = blind ? HUGE_VALF : (top[r] + log2f(total[r])) * ln_2;
    total[r] = blind ? 0.0f : 1.0f / total[r];
  }
  each(sum, [&](float& s, int, int e) { s *= total[e / 2]; });
  write_tile(queries_of(y, block.first, call, block), block.column, memory.panels.own[0], sum, 1.0f);
}

/// delta [rows, heads]
template <class T>
__global__ void __launch_bounds__(most_row_threads)
    row_products(float* delta, const T* dy, const T* y, Attention call) {
  const AttentionShape& shape = call.shape;
  const std::int64_t rows = shape.queries_packed ? shape.offsets[shape.sequences] : shape.sequences * shape.queries;
  const std::int64_t row = row_of_thread();
  if (row >= rows * shape.heads) return;
  RowThreads threads(shape.dim, call.vectors);
  const auto dys = threads.template read<1>(dy + row * shape.dim), ys = threads.template read<1>(y + row * shape.dim);
  float sum = 0;
  threads.each(
      [&](At, auto a, auto b) {
        for (int e = 0; e < a.size; ++e) sum += a[e] * b[e];
      },
      dys, ys);
  sum = threads.sum(sum);
  if (threads.thread == 0) delta[row] = sum;
}

template <class T>
struct BackwardMemory {
  Panels<T, 2> panels;
  Strips<T> strips;
  float lse[other_rows], delta[other_rows];
};

/// What backward reads.
template <class T>
struct Inputs {
  const T *q, *k, *v, *dy;
  const float *lse, *delta;

  /// Of query `i`, in base 2.
  __device__ float lse_of(const Attention& call, const Block& block, int i) const {
    return i < block.queries ? lse[(block.first_query + i) * call.shape.heads + block.head] * log2_e : HUGE_VALF;
  }
  __device__ float delta_of(const Attention& call, const Block& block, int i) const {
    return i < block.queries ? delta[(block.first_query + i) * call.shape.heads + block.head] : 0.0f;
  }
};

/// The score becomes the probability, dp becomes ds.
__device__ __forceinline__ void differentiate(float& s, float& dp, float scale, float lse, float delta, bool seen) {
  s = seen ? exp2_approximately(s * scale - lse) : 0.0f;
  dp = s * (dp - delta);
}

template <class T>
__global__ void __launch_bounds__(panel_threads) query_gradient(T* dq, Inputs<T> in, Attention call) {
  auto& memory = shared_as<BackwardMemory<T>>();
  const AttentionShape& shape = call.shape;
  const Block block(shape, shape.queries);
  if (block.first >= block.queries) return;
  const int query = block.first + warp_row(), columns = static_cast<int>(shape.dim) - block.column;
  const int end = shape.causal ? std::min(block.keys, block.first + own_rows) : block.keys;
  const float scale = shape.scale * log2_e;
  float lse[2], delta[2];
  for (int r = 0; r < 2; ++r) {
    lse[r] = in.lse_of(call, block, query + lane_row(2 * r));
    delta[r] = in.delta_of(call, block, query + lane_row(2 * r));
  }

  const MemoryRows<const T> own[] = {queries_of(in.q, block.first, call, block),
                                     queries_of(in.dy, block.first, call, block)};
  WarpTile<panel_columns> sum{};
  bool fresh = true;
  for (int first = 0; first < end; first += other_rows) {
    const std::uint64_t shown = shown_keys(shape, block, first);
    if (static_cast<unsigned>(shown) == 0) continue;
    const int count = query < block.queries ? 32 - __clz(seen_keys(shape, shown, first, query + warp_rows - 1)) : 0;
    const MemoryRows<const T> other[] = {keys_of(in.k, first, shown, call, block),
                                         keys_of(in.v, first, shown, call, block)};
    WarpTile<other_rows> tile[2];  // s and dp
    __syncthreads();               // panels have been read
    dots(tile, memory.panels, own, other, fresh, count);
    fresh = false;
    if (shape.dropout.p > 0) drop(tile[1], kept_of_queries(call, block, query, first), call.dropped.scale);
    const ColumnBits seen = seen_by_queries(shape, shown, first, query);
    each(tile[0], [&](float& s, int n, int e) {
      differentiate(s, tile[1].at[n][e], scale, lse[e / 2], delta[e / 2], seen.at(n, e));
    });
    const auto& key_columns = columns_of(memory.panels.other[0], other[0], block.column);
    add_rows(sum, left_factor(memory.strips, tile[1]), key_columns, count, columns);
  }
  write_tile(queries_of(dq, block.first, call, block), block.column, memory.panels.own[0], sum, shape.scale);
}

template <class T>
__global__ void __launch_bounds__(panel_threads) key_gradients(T* dk, T* dv, Inputs<T> in, Attention call) {
  auto& memory = shared_as<BackwardMemory<T>>();
  const AttentionShape& shape = call.shape;
  const Block block(shape, shape.keys);
  if (block.first >= block.keys) return;
  const std::uint64_t shown = shown_keys(shape, block, block.first);
  const int key = block.first + warp_row(), columns = static_cast<int>(shape.dim) - block.column;
  const int end = shown == 0 ? 0 : block.queries;
  const float scale = shape.scale * log2_e;

  const MemoryRows<const T> own[] = {keys_of(in.k, block.first, shown, call, block),
                                     keys_of(in.v, block.first, shown, call, block)};
  WarpTile<panel_columns> dk_sum{}, dv_sum{};
  bool fresh = true;
  for (int first = shape.causal ? block.first : 0; first < end; first += other_rows) {
    const int count = key < block.keys ? block.queries - first : 0;
    const MemoryRows<const T> other[] = {queries_of(in.q, first, call, block), queries_of(in.dy, first, call, block)};
    WarpTile<other_rows> tile[2];  // s and dp, transposed
    __syncthreads();               // shared memory has been read
    if (threadIdx.y == 0) {
      const int i = static_cast<int>(threadIdx.x);
      memory.lse[i] = in.lse_of(call, block, first + i);
      memory.delta[i] = in.delta_of(call, block, first + i);
    }
    dots(tile, memory.panels, own, other, fresh, count);
    fresh = false;
    const bool dropping = shape.dropout.p > 0;
    const ColumnBits kept = dropping ? kept_of_keys(call, block, key, first) : ColumnBits{};
    if (dropping) drop(tile[1], kept, call.dropped.scale);
    const ColumnBits seen = seen_of_keys(shape, static_cast<unsigned>(shown >> warp_row()), key, first);
    each(tile[0], [&](float& s, int n, int e) {
      const int i = lane_column(n, e);
      differentiate(s, tile[1].at[n][e], scale, memory.lse[i], memory.delta[i], seen.at(n, e));
    });
    if (dropping) drop(tile[0], kept, call.dropped.scale);
    if (dv != nullptr) {
      const auto& dy_columns = columns_of(memory.panels.other[1], other[1], block.column);
      add_rows(dv_sum, left_factor(memory.strips, tile[0]), dy_columns, count, columns);
    }
    if (dk != nullptr) {
      const auto& q_columns = columns_of(memory.panels.other[0], other[0], block.column);
      add_rows(dk_sum, left_factor(memory.strips, tile[1]), q_columns, count, columns);
    }
  }
  const std::uint64_t there = low_bits(block.keys - block.first);
  if (dk != nullptr)
    write_tile(rows_of(dk, block.first_key + block.first, there, call, block), block.column, memory.panels.own[0],
               dk_sum, shape.scale);
  if (dv != nullptr)
    write_tile(rows_of(dv, block.first_key + block.first, there, call, block), block.column, memory.panels.own[1],
               dv_sum, 1.0f);
}

}  // namespace

template <class T>
void attention_forward(T* y, float* lse, const T* q, const T* k, const T* v, const AttentionShape& shape,
                       Stream stream) {
  launch("attention", grid_of(shape, shape.queries, sizeof(ForwardMemory<T>)), stream, forward<T>, y, lse, q, k, v,
         call_of<T>(shape, y, q, k, v));
}

template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dy, const T* q, const T* k, const T* v, const T* y,
                        const float* lse, const AttentionShape& shape, float* delta, Stream stream) {
  constexpr const char* name = "attention";
  const Attention call = call_of<T>(shape, dq, dk, dv, dy, q, k, v, y);
  const Inputs<T> in{q, k, v, dy, lse, delta};
  launch(name, row_grid<T, 1>(shape.sequences * shape.queries * shape.heads, shape.dim), stream, row_products<T>, delta,
         dy, y, call);
  constexpr std::size_t bytes = sizeof(BackwardMemory<T>);
  if (dq != nullptr) launch(name, grid_of(shape, shape.queries, bytes), stream, query_gradient<T>, dq, in, call);
  if (dk != nullptr || dv != nullptr)
    launch(name, grid_of(shape, shape.keys, bytes), stream, key_gradients<T>, dk, dv, in, call);
}

template void attention_forward(float*, float*, const float*, const float*, const float*, const AttentionShape&,
                                Stream);
template void attention_forward(bf16*, float*, const bf16*, const bf16*, const bf16*, const AttentionShape&, Stream);
template void attention_forward(f16*, float*, const f16*, const f16*, const f16*, const AttentionShape&, Stream);
template void attention_backward(float*, float*, float*, const float*, const float*, const float*, const float*,
                                 const float*, const float*, const AttentionShape&, float*, Stream);
template void attention_backward(bf16*, bf16*, bf16*, const bf16*, const bf16*, const bf16*, const bf16*, const bf16*,
                                 const float*, const AttentionShape&, float*, Stream);
template void attention_backward(f16*, f16*, f16*, const f16*, const f16*, const f16*, const f16*, const f16*,
                                 const float*, const AttentionShape&, float*, Stream);

}  // namespace clip::kernels::cuda
