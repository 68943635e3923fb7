// A task is one head of one sequence, in forward one tile of its queries. It copies rows to tiles in scratch, which
// hold f32 and stay in the caches; tile_product does the arithmetic. The softmax is taken online: each tile of keys
// brings a new maximum, by which what was summed so far is scaled down.
#include "kernels/attention.hpp"

#include <cmath>

#include "kernels/cpu/attention_tiles.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace clip::kernels::cpu {
namespace {

/// Workers worth their start: at least half a million multiply-adds each.
std::int64_t workers_for(const AttentionShape& shape, std::int64_t tasks) {
  const std::int64_t rows = shape.queries_packed ? shape.offsets[shape.sequences] : shape.sequences * shape.queries;
  const std::int64_t work = rows * shape.heads * shape.keys * shape.dim * 2;
  return std::clamp<std::int64_t>(std::min(tasks, work >> 19), 1, omp_get_max_threads());
}

std::int64_t query_tiles(const AttentionShape& shape) { return (shape.queries + tile_rows - 1) / tile_rows; }

/// The online softmax of a tile of scores [keys, tile_rows], a column for each query: scores become e^(score - max);
/// `max` and `sum` move on, and `decay` is what earlier results are to be scaled by.
CLIP_INLINE void softmax_tile(float* scores, float* max_so_far, float* sum_so_far, float* decay, std::int64_t keys,
                              std::int64_t queries) {
  for (std::int64_t i = 0; i < queries; i += lanes) {
    const f32x16 before = load(max_so_far + i);
    f32x16 top = before;
    for (std::int64_t j = 0; j < keys; ++j) top = max(top, load(scores + j * tile_rows + i));
    const f32x16 factor = exp(before - top);
    f32x16 total = load(sum_so_far + i) * factor;
    for (std::int64_t j = 0; j < keys; ++j) {
      const f32x16 p = exp(load(scores + j * tile_rows + i) - top);
      total += p;
      store(scores + j * tile_rows + i, p);
    }
    store(max_so_far + i, top);
    store(sum_so_far + i, total);
    store(decay + i, factor);
  }
}

CLIP_INLINE void scale_row(float* row, std::int64_t padded_dim, float factor) {
  for (std::int64_t d = 0; d < padded_dim; d += lanes) store(row + d, load(row + d) * factor);
}

/// `count` queries from `first` on. Scores are kept transposed, [keys, queries], so that lanes are queries: maxima and
/// sums need no reduction across lanes, and of all tiles only that of the queries, read once, has to be transposed.
template <class T>
CLIP_INLINE void forward_tile(T* y, float* lse, const T* q, const T* k, const T* v, const AttentionShape& shape,
                              const Sequence& sequence, std::int64_t head, std::int64_t first, float* scratch) {
  const std::int64_t dim = shape.dim, padded = round_up(dim, lanes);
  const std::int64_t count = std::min(tile_rows, sequence.queries - first), columns = round_up(count, lanes);
  float *scores = scratch, *queries = scores + tile_square, *keys = queries + padded * tile_rows,
        *values = keys + tile_rows * padded, *result = values + tile_rows * padded;

  read_rows(result, rows_of(q, sequence.first_query, head, shape), first, count, dim, shape.scale);
  transpose(queries, result, count, dim);
  std::fill(result, result + count * padded, 0.0f);
  alignas(64) float top[tile_rows], sum[tile_rows] = {}, decay[tile_rows], factors[tile_rows];
  std::fill(top, top + tile_rows, std::numeric_limits<float>::lowest());  // finite: infinities would make NaN

  const HeadRows<const T> k_rows = rows_of(k, sequence.first_key, head, shape);
  const HeadRows<const T> v_rows = rows_of(v, sequence.first_key, head, shape);
  const std::int64_t end = shape.causal ? std::min(sequence.keys, first + count) : sequence.keys;
  KeyTile tile;
  for (std::int64_t next = 0; next_keys(tile, next, end, sequence);) {
    read_keys(keys, k_rows, tile, dim);
    read_keys(values, v_rows, tile, dim);
    tile_product(scores, tile_rows, {keys, padded, 1}, queries, tile_rows, round_up(tile.count, 4), columns, dim,
                 false);
    if (shape.causal)
      for (std::int64_t j = 0; j < tile.count; ++j)
        for (std::int64_t i = 0; i < std::min(tile.key[j] - first, count); ++i)
          scores[j * tile_rows + i] = -std::numeric_limits<float>::infinity();
    softmax_tile(scores, top, sum, decay, tile.count, columns);
    if (shape.dropout.p > 0)
      for (std::int64_t i = 0; i < count; ++i) {
        dropout_factors(factors, shape, sequence.first_query + first + i, head, tile);
        for (std::int64_t j = 0; j < tile.count; ++j) scores[j * tile_rows + i] *= factors[j];
      }
    for (std::int64_t i = 0; i < count; ++i) scale_row(result + i * padded, padded, decay[i]);
    tile_product(result, padded, {scores, 1, tile_rows}, values, padded, round_up(count, 4), padded, tile.count, true);
  }

  const HeadRows<T> y_rows = rows_of(y, sequence.first_query + first, head, shape);
  for (std::int64_t i = 0; i < count; ++i) {
    const bool blind = sum[i] == 0.0f;
    write_row(y_rows[i], result + i * padded, dim, blind ? 0.0f : 1.0f / sum[i]);
    lse[(sequence.first_query + first + i) * shape.heads + head] =
        blind ? std::numeric_limits<float>::infinity() : top[i] + std::log(sum[i]);
  }
}

}  // namespace

AttentionScratch attention_forward_scratch(const AttentionShape& shape) {
  return {workers_for(shape, shape.sequences * shape.heads * query_tiles(shape)),
          tile_square + 4 * tile_rows * round_up(shape.dim, lanes)};
}

template <class T>
void attention_forward(T* y, float* lse, const T* q, const T* k, const T* v, const AttentionShape& shape,
                       float* scratch, std::int64_t workers) {
  const std::int64_t tiles = query_tiles(shape);
  for_tasks(
      shape.sequences * tiles * shape.heads, workers, scratch,
      attention_forward_scratch(shape).floats, [=](std::int64_t task, float* own) __attribute__((always_inline)) {
        const Sequence sequence = sequence_of(shape, task / shape.heads / tiles);
        const std::int64_t head = task % shape.heads, first = task / shape.heads % tiles * tile_rows;
        if (first < sequence.queries) forward_tile(y, lse, q, k, v, shape, sequence, head, first, own);
      });
}

namespace {

/// dp becomes ds, and s becomes p, for one query.
CLIP_INLINE void differentiate_row(float* s, float* dp, float lse, float delta, std::int64_t keys) {
  for (std::int64_t j = 0; j < keys; j += lanes) {
    const f32x16 p = exp(load(s + j) - lse);
    store(s + j, p);
    store(dp + j, p * (load(dp + j) - delta));
  }
}

/// One head of one sequence: for each tile of keys all queries, so that dk and dv are summed in one tile each, while dq
/// is summed in scratch.
template <class T>
CLIP_INLINE void backward_head(T* dq, T* dk, T* dv, const T* dy, const T* q, const T* k, const T* v, const T* y,
                               const float* lse, const AttentionShape& shape, const Sequence& sequence,
                               std::int64_t head, float* scratch) {
  const std::int64_t dim = shape.dim, padded = round_up(dim, lanes), area = tile_rows * padded;
  float *p = scratch, *ds = p + tile_square, *keys = ds + tile_square, *keys_t = keys + area, *values_t = keys_t + area,
        *dkeys = values_t + area, *dvalues = dkeys + area, *queries = dvalues + area, *dys = queries + area,
        *delta = dys + area, *dqueries = delta + round_up(shape.queries, lanes);

  const HeadRows<const T> q_rows = rows_of(q, sequence.first_query, head, shape);
  const HeadRows<const T> dy_rows = rows_of(dy, sequence.first_query, head, shape);
  const HeadRows<const T> y_rows = rows_of(y, sequence.first_query, head, shape);
  const HeadRows<const T> k_rows = rows_of(k, sequence.first_key, head, shape);
  const HeadRows<const T> v_rows = rows_of(v, sequence.first_key, head, shape);
  const float* lse_rows = lse + sequence.first_query * shape.heads + head;
  for (std::int64_t i = 0; i < sequence.queries; ++i) delta[i] = dot(dy_rows[i], y_rows[i], dim);
  std::fill(dqueries, dqueries + round_up(sequence.queries, 4) * padded, 0.0f);
  float factors[tile_rows];
  for (T* out : {dk, dv})
    for (std::int64_t j = 0; out != nullptr && sequence.mask != nullptr && j < sequence.keys; ++j) {
      T* const row = rows_of(out, sequence.first_key, head, shape)[j];  // no tile has the hidden keys
      std::fill(row, row + dim, T(0.0f));
    }

  KeyTile tile;
  for (std::int64_t next = 0; next_keys(tile, next, sequence.keys, sequence);) {
    read_keys(keys, k_rows, tile, dim);
    read_keys(dvalues, v_rows, tile, dim);
    transpose(keys_t, keys, tile.count, dim);
    transpose(values_t, dvalues, tile.count, dim);
    std::fill(dkeys, dkeys + area, 0.0f);
    std::fill(dvalues, dvalues + area, 0.0f);
    const std::int64_t columns = round_up(tile.count, lanes), key_rows = round_up(tile.count, 4);

    const std::int64_t start =
        shape.causal ? tile.key[0] / tile_rows * tile_rows : 0;  // queries before see no key of it
    for (std::int64_t first = start; first < sequence.queries; first += tile_rows) {
      const std::int64_t count = std::min(tile_rows, sequence.queries - first), query_rows = round_up(count, 4);
      read_rows(queries, q_rows, first, count, dim, shape.scale);
      read_rows(dys, dy_rows, first, count, dim);
      tile_product(p, tile_rows, {queries, padded, 1}, keys_t, tile_rows, query_rows, columns, dim, false);
      tile_product(ds, tile_rows, {dys, padded, 1}, values_t, tile_rows, query_rows, columns, dim, false);
      for (std::int64_t i = 0; i < count; ++i) {
        if (shape.causal)
          for (std::int64_t j = tile.count - 1; j >= 0 && tile.key[j] > first + i; --j)
            p[i * tile_rows + j] = -std::numeric_limits<float>::infinity();
        if (shape.dropout.p > 0) {
          dropout_factors(factors, shape, sequence.first_query + first + i, head, tile);
          for (std::int64_t j = 0; j < tile.count; ++j) ds[i * tile_rows + j] *= factors[j];
        }
        differentiate_row(p + i * tile_rows, ds + i * tile_rows, lse_rows[(first + i) * shape.heads], delta[first + i],
                          columns);
        if (shape.dropout.p > 0)
          for (std::int64_t j = 0; j < tile.count; ++j) p[i * tile_rows + j] *= factors[j];
      }
      if (dv != nullptr) tile_product(dvalues, padded, {p, 1, tile_rows}, dys, padded, key_rows, padded, count, true);
      if (dk != nullptr)
        tile_product(dkeys, padded, {ds, 1, tile_rows}, queries, padded, key_rows, padded, count, true);
      if (dq != nullptr)
        tile_product(dqueries + first * padded, padded, {ds, tile_rows, 1}, keys, padded, query_rows, padded,
                     tile.count, true);
    }
    for (std::int64_t j = 0; j < tile.count; ++j) {
      if (dk != nullptr) write_row(rows_of(dk, sequence.first_key, head, shape)[tile.key[j]], dkeys + j * padded, dim);
      if (dv != nullptr)
        write_row(rows_of(dv, sequence.first_key, head, shape)[tile.key[j]], dvalues + j * padded, dim);
    }
  }
  if (dq != nullptr)
    for (std::int64_t i = 0; i < sequence.queries; ++i)
      write_row(rows_of(dq, sequence.first_query, head, shape)[i], dqueries + i * padded, dim, shape.scale);
}

}  // namespace

AttentionScratch attention_backward_scratch(const AttentionShape& shape) {
  const std::int64_t padded = round_up(shape.dim, lanes);
  return {
      workers_for(shape, shape.sequences * shape.heads),
      2 * tile_square + 7 * tile_rows * padded + round_up(shape.queries, lanes) + round_up(shape.queries, 4) * padded};
}

template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dy, const T* q, const T* k, const T* v, const T* y,
                        const float* lse, const AttentionShape& shape, float* scratch, std::int64_t workers) {
  for_tasks(
      shape.sequences * shape.heads, workers, scratch,
      attention_backward_scratch(shape).floats, [=](std::int64_t task, float* own) __attribute__((always_inline)) {
        backward_head(dq, dk, dv, dy, q, k, v, y, lse, shape, sequence_of(shape, task / shape.heads),
                      task % shape.heads, own);
      });
}

template void attention_forward(float*, float*, const float*, const float*, const float*, const AttentionShape&, float*,
                                std::int64_t);
template void attention_forward(bf16*, float*, const bf16*, const bf16*, const bf16*, const AttentionShape&, float*,
                                std::int64_t);
template void attention_backward(float*, float*, float*, const float*, const float*, const float*, const float*,
                                 const float*, const float*, const AttentionShape&, float*, std::int64_t);
template void attention_backward(bf16*, bf16*, bf16*, const bf16*, const bf16*, const bf16*, const bf16*, const bf16*,
                                 const float*, const AttentionShape&, float*, std::int64_t);

}  // namespace clip::kernels::cpu
