#pragma once
// What attention's passes share: the tiles of rows they work on, in f32 and padded to whole vectors, and how sequences,
// heads and hidden keys map to rows in memory.
#include <algorithm>
#include <limits>

#include "kernels/attention.hpp"
#include "kernels/cpu/math.hpp"
#include "kernels/cpu/philox.hpp"

namespace clip::kernels::cpu {

inline constexpr std::int64_t tile_rows = 64;  // queries or keys in a tile
inline constexpr std::int64_t tile_square = tile_rows * tile_rows;

CLIP_INLINE std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

/// One head of one sequence. Row r of queries is at `first_query + r` of q, y and lse.
struct Sequence {
  std::int64_t first_query, queries, first_key, keys;
  const std::uint8_t* mask;
};
CLIP_INLINE Sequence sequence_of(const AttentionShape& shape, std::int64_t s) {
  if (shape.offsets != nullptr) {
    const std::int64_t first = shape.offsets[s], count = shape.offsets[s + 1] - first;
    if (!shape.queries_packed) return {s * shape.queries, shape.queries, first, count, nullptr};
    return {first, count, first, count, nullptr};
  }
  return {s * shape.queries, shape.queries, s * shape.keys, shape.keys,
          shape.mask == nullptr ? nullptr : shape.mask + s * shape.keys};
}

/// Visible keys, ascending. Hidden ones are left out of tiles, so they cost nothing.
struct KeyTile {
  std::int64_t count = 0;
  std::int64_t key[tile_rows];
};
/// Fills `keys` with the next visible ones from `next` on, which it moves, and before `end`. False when there are none.
CLIP_INLINE bool next_keys(KeyTile& keys, std::int64_t& next, std::int64_t end, const Sequence& sequence) {
  keys.count = 0;
  for (; next < end && keys.count < tile_rows; ++next)
    if (sequence.mask == nullptr || sequence.mask[next] != 0) keys.key[keys.count++] = next;
  return keys.count > 0;
}

/// What dropout multiplies the probabilities of a tile's keys by, for row `query` of the queries.
CLIP_INLINE void dropout_factors(float* factors, const AttentionShape& shape, std::int64_t query, std::int64_t head,
                                 const KeyTile& tile) {
  const auto last_dropped = static_cast<std::uint32_t>(dropout_threshold(shape.dropout.p) - 1);
  const float kept = 1.0f / (1.0f - shape.dropout.p);
  const std::uint64_t first =
      shape.dropout.offset + static_cast<std::uint64_t>((query * shape.heads + head) * shape.row_blocks());
  const PhiloxStream random(shape.dropout.seed);
  std::uint32_t words[32];
  std::int64_t group = -1;  // of 32 keys
  for (std::int64_t j = 0; j < tile.count; ++j) {
    if (tile.key[j] / 32 != group) {
      group = tile.key[j] / 32;
      const PhiloxWords w = random.words(first + static_cast<std::uint64_t>(group) * 8);
      std::memcpy(words, &w, sizeof words);
    }
    factors[j] = words[tile.key[j] % 32] > last_dropped ? kept : 0.0f;
  }
}

/// One head's part of an array of rows, [rows, heads, dim].
template <class T>
struct HeadRows {
  T* data;
  std::int64_t stride;
  CLIP_INLINE T* operator[](std::int64_t row) const { return data + row * stride; }
};
template <class T>
CLIP_INLINE HeadRows<T> rows_of(T* data, std::int64_t first_row, std::int64_t head, const AttentionShape& shape) {
  return {data + (first_row * shape.heads + head) * shape.dim, shape.heads * shape.dim};
}

/// A row times `factor` as f32, with zeros up to a whole vector.
template <class T>
CLIP_INLINE void read_row(float* to, const T* from, std::int64_t dim, float factor = 1) {
  std::int64_t d = 0;
  for (; d + lanes <= dim; d += lanes) store(to + d, load(from + d) * factor);
  if (d < dim) store(to + d, load(from + d, dim - d) * factor);
}
template <class T>
CLIP_INLINE void write_row(T* to, const float* from, std::int64_t dim, float factor = 1) {
  std::int64_t d = 0;
  for (; d + lanes <= dim; d += lanes) store(to + d, load(from + d) * factor);
  if (d < dim) store(to + d, load(from + d) * factor, dim - d);
}

/// A tile of `count` rows from `first` on. What pads it to whole blocks is whatever was there: it reaches only results
/// that nobody reads.
template <class T>
CLIP_INLINE void read_rows(float* tile, const HeadRows<const T>& from, std::int64_t first, std::int64_t count,
                           std::int64_t dim, float factor = 1) {
  const std::int64_t padded = round_up(dim, lanes);
  for (std::int64_t r = 0; r < count; ++r) read_row(tile + r * padded, from[first + r], dim, factor);
}
template <class T>
CLIP_INLINE void read_keys(float* tile, const HeadRows<const T>& from, const KeyTile& keys, std::int64_t dim) {
  const std::int64_t padded = round_up(dim, lanes);
  for (std::int64_t r = 0; r < keys.count; ++r) read_row(tile + r * padded, from[keys.key[r]], dim);
}

/// to [dim, tile_rows] = the transpose of the tile from [rows, dim], both padded; in blocks of 4 by 4, which every
/// instruction set can shuffle.
CLIP_INLINE void transpose(float* to, const float* from, std::int64_t rows, std::int64_t dim) {
  using f32x4 = float __attribute__((vector_size(16)));
  const std::int64_t padded = round_up(dim, lanes);
  for (std::int64_t d = 0; d < dim; d += 4)
    for (std::int64_t r = 0; r < round_up(rows, lanes); r += 4) {
      f32x4 row[4];
      for (std::int64_t i = 0; i < 4; ++i) std::memcpy(&row[i], from + (r + i) * padded + d, sizeof(f32x4));
      const f32x4 low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
      const f32x4 high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
      const f32x4 low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
      const f32x4 high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
      const f32x4 column[4] = {
          __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
          __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
      for (std::int64_t i = 0; i < 4; ++i) std::memcpy(to + (d + i) * tile_rows + r, &column[i], sizeof(f32x4));
    }
}

/// Runs task(index, scratch) for all indices. Workers take turns, so that neighbours, which are heads of one sequence
/// and have equal work, are shared evenly however long the sequences are.
template <class Task>
CLIP_INLINE void for_tasks(std::int64_t tasks, std::int64_t workers, float* scratch, std::int64_t floats,
                           const Task& task) {
  parallel_for(workers, 1, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t worker = begin; worker < end; ++worker)
      for (std::int64_t index = worker; index < tasks; index += workers) task(index, scratch + worker * floats);
  });
}

}  // namespace clip::kernels::cpu
