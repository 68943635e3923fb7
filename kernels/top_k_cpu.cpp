// Every thread has a part of the rows, and walks it in tiles that stay in the cache while all queries pass over them. A
// score is summed in sixteen lanes, one chain for each pair of query and row; blocks of 4 x 4 pairs keep the
// multipliers busy and load each number once for four uses. Sixteen such chains become one vector of scores. Rows of
// f16 or bytes are widened once a tile, or on the way where there is one query, which is bound by memory. A heap of the
// k best hits of each query takes what beats its worst; the threads' heaps are merged at the end.
#include "kernels/top_k.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

constexpr std::int64_t widest = 4;  // queries in a block

struct Hit {
  float score;
  std::int64_t row;
};
CLIP_INLINE bool better(const Hit& a, const Hit& b) {
  return a.score > b.score || (a.score == b.score && a.row < b.row);
}

/// Rows in a tile: 128 KiB in f32, as long as that is at least a vector of them.
std::int64_t tile_rows(std::int64_t cols) {
  return std::clamp<std::int64_t>(32768 / cols / lanes * lanes, lanes, 16 * lanes);
}

/// A worker's scratch: the hits and their number for each query, a tile of widened rows, scores for a block of queries.
struct Scratch {
  Hit* hits;
  std::int64_t* sizes;
  float *tile, *scores;
};
Scratch scratch_of(void* scratch, std::int64_t worker, const TopKShape& s) {
  char* own = static_cast<char*>(scratch) + worker * top_k_scratch(s).bytes;
  Hit* hits = reinterpret_cast<Hit*>(own);
  auto* sizes = reinterpret_cast<std::int64_t*>(hits + s.queries * s.k);
  auto* tile = reinterpret_cast<float*>(sizes + s.queries);
  return {hits, sizes, tile, tile + tile_rows(s.cols) * s.cols};
}

/// Lane i of the result is the sum of v[i]'s lanes, added in the order of `sum`.
CLIP_INLINE f32x16 sums_of(const f32x16 (&v)[lanes]) {
  f32x16 a[8], b[4];
  for (int i = 0; i < 8; ++i)
    a[i] =
        __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
        __builtin_shufflevector(v[2 * i], v[2 * i + 1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  for (int i = 0; i < 4; ++i)
    b[i] = __builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           __builtin_shufflevector(a[2 * i], a[2 * i + 1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  for (int i = 0; i < 2; ++i)
    a[i] = __builtin_shufflevector(b[2 * i], b[2 * i + 1], 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
           __builtin_shufflevector(b[2 * i], b[2 * i + 1], 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
  return __builtin_shufflevector(a[0], a[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(a[0], a[1], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

/// A row's numbers, f16 ones times 2^-112: that takes three instructions, a third of widening them. Queries are scaled
/// the other way, so that products are the same, bit for bit.
CLIP_INLINE f32x16 load_row(const float* p, AllLanes) { return load(p); }
CLIP_INLINE f32x16 load_row(const float* p, std::int64_t count) { return load(p, count); }
CLIP_INLINE f32x16 load_row(const f16* p, AllLanes) {
  u16x16 v;
  std::memcpy(&v, p, sizeof v);
  return as_float(as_int(widen(v)) >> 3 & static_cast<std::int32_t>(0x8fffe000));
}
CLIP_INLINE f32x16 load_row(const f16* p, std::int64_t count) { return load(p, count) * 0x1p-112f; }
using u8x16 = std::uint8_t __attribute__((vector_size(16)));
CLIP_INLINE f32x16 load_row(const std::uint8_t* p, AllLanes) {
  u8x16 v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, f32x16) - 128;
}
CLIP_INLINE f32x16 load_row(const std::uint8_t* p, std::int64_t count) {
  u8x16 v = {};
  std::memcpy(&v, p, static_cast<std::size_t>(count));
  return __builtin_convertvector(v, f32x16) - 128;
}
/// The same as they are.
CLIP_INLINE f32x16 widened(const f16* p, auto count) { return load(p, count); }
CLIP_INLINE f32x16 widened(const std::uint8_t* p, auto count) { return load_row(p, count); }
template <class T>
constexpr float query_scale = std::is_same_v<T, f16> ? 0x1p112f : 1.0f;

/// A single query waits for memory, which is fastest when rows are read one after the other and asked for this early.
constexpr std::int64_t prefetch_bytes = 8192;

/// sums[q * stride + r] = the chain of products of query q and the row at row[r].
template <int queries, int rows, class T>
CLIP_INLINE void chains(f32x16* sums, int stride, const float* query, const T* const* row, std::int64_t cols) {
  constexpr std::size_t height = queries, width = rows;
  f32x16 s[height][width] = {};
  for_vectors(
      cols, [&](std::int64_t i, auto count) __attribute__((always_inline)) {
        f32x16 x[height];
        for (int q = 0; q < queries; ++q) x[q] = load(query + q * cols + i, count) * query_scale<T>;
        for (int r = 0; r < rows; ++r) {
          if constexpr (queries == 1) __builtin_prefetch(reinterpret_cast<const char*>(row[r] + i) + prefetch_bytes);
          const f32x16 y = load_row(row[r] + i, count);
          for (int q = 0; q < queries; ++q) s[q][r] += x[q] * y;
        }
      });
  for (int q = 0; q < queries; ++q)
    for (int r = 0; r < rows; ++r) sums[q * stride + r] = s[q][r];
}

/// scores[q * stride + r], for a block of queries and `count` rows; what follows up to a multiple of sixteen is
/// undefined.
template <int queries, class T>
CLIP_INLINE void score_rows(float* scores, std::int64_t stride, const float* query, const T* rows, std::int64_t count,
                            std::int64_t cols) {
  constexpr int group = static_cast<int>(lanes) / queries;  // rows whose scores fill a vector
  constexpr int block = queries;                            // rows summed in registers
  for (std::int64_t first = 0; first < count; first += group) {
    f32x16 sums[lanes];
    for (int r = 0; r < group; r += block) {
      const T* row[static_cast<std::size_t>(block)];
      for (int i = 0; i < block; ++i) row[i] = rows + std::min(first + r + i, count - 1) * cols;
      chains<queries, block>(sums + r, group, query, row, cols);
    }
    float together[lanes];
    store(together, sums_of(sums));
    for (int q = 0; q < queries; ++q)
      std::memcpy(scores + q * stride + first, together + q * group, sizeof(float) * group);
  }
}

/// visit(query, first row, number of rows, their scores) for all queries and tiles of rows [begin, end).
template <int block, class T, class Visit>
CLIP_INLINE void for_tiles(const float* queries, const T* rows, const float* factors, std::int64_t begin,
                           std::int64_t end, const TopKShape& s, const Scratch& scratch, const Visit& visit) {
  const std::int64_t tile = tile_rows(s.cols);
  for (std::int64_t first = begin; first < end; first += tile) {
    const std::int64_t count = std::min(tile, end - first);
    const auto scored = [&](std::int64_t q, float* scores) __attribute__((always_inline)) {
      if constexpr (std::is_same_v<T, std::uint8_t>)
        for (std::int64_t i = 0; i < count; ++i) scores[i] *= factors[first + i];
      visit(q, first, count, scores);
    };
    const auto pass = [&](const auto* x) __attribute__((always_inline)) {
      std::int64_t q = 0;
      for (; q + block <= s.queries; q += block) {
        score_rows<block>(scratch.scores, tile, queries + q * s.cols, x, count, s.cols);
        for (std::int64_t i = 0; i < block; ++i) scored(q + i, scratch.scores + i * tile);
      }
      for (; q < s.queries; ++q) {
        score_rows<1>(scratch.scores, tile, queries + q * s.cols, x, count, s.cols);
        scored(q, scratch.scores);
      }
    };
    if constexpr (!std::is_same_v<T, float>) {
      if (s.queries > 1) {
        const T* const narrow = rows + first * s.cols;
        for_vectors(
            count * s.cols, [&](std::int64_t i, auto some) __attribute__((always_inline)) {
              store(scratch.tile + i, widened(narrow + i, some), some);
            });
        pass(static_cast<const float*>(scratch.tile));
        continue;
      }
    }
    pass(rows + first * s.cols);
  }
}

/// All tiles of all workers, who run at the same time: visit(worker's scratch, query, …) as above. `sizes` start at 0.
template <class T, class Visit>
void for_workers(const float* queries, const T* rows, const float* factors, const TopKShape& s, void* scratch,
                 std::int64_t workers, const Visit& visit) {
  const bool many_registers = instruction_set() == InstructionSet::avx512;
  const auto run = [&]<int block>() {
    parallel_for(workers, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t w = first; w < last; ++w) {
        const Scratch own = scratch_of(scratch, w, s);
        std::fill_n(own.sizes, s.queries, 0);
        for_tiles<block>(
            queries, rows, factors, s.rows * w / workers, s.rows * (w + 1) / workers, s, own,
            [&](std::int64_t q, std::int64_t row, std::int64_t count, const float* scores)
                __attribute__((always_inline)) { visit(own, q, row, count, scores); });
      }
    });
  };
  many_registers ? run.template operator()<widest>() : run.template operator()<2>();
}

/// Puts `hit` in a heap of the k best, whose front is the worst, if it belongs there.
void insert(Hit* heap, std::int64_t& size, std::int64_t k, const Hit& hit) {
  if (size == k) {
    if (!better(hit, *heap)) return;
    std::pop_heap(heap, heap + size--, better);
  }
  heap[size++] = hit;
  std::push_heap(heap, heap + size, better);
}
[[gnu::noinline]] void insert_all(Hit* heap, std::int64_t& size, std::int64_t k, std::int64_t row, std::int64_t count,
                                  const float* scores) {
  for (std::int64_t i = 0; i < count; ++i) insert(heap, size, k, {scores[i], row + i});
}

}  // namespace

TopKScratch top_k_scratch(const TopKShape& s) {
  const std::int64_t work = s.queries * s.rows * s.cols / (8 * elements_per_thread);
  const std::int64_t floats = tile_rows(s.cols) * (s.cols + widest);
  return {std::clamp<std::int64_t>(std::min(work, s.rows / lanes), 1, omp_get_max_threads()),
          s.queries * (s.k * static_cast<std::int64_t>(sizeof(Hit)) + 8) + (floats * 4 + 63) / 64 * 64};
}

template <class T>
void top_k(float* scores, std::int64_t* indices, const float* queries, const T* rows, const float* factors,
           const TopKShape& s, void* scratch, std::int64_t workers) {
  for_workers(
      queries, rows, factors, s, scratch, workers,
      [&](const Scratch& own, std::int64_t q, std::int64_t row, std::int64_t count, const float* found)
          __attribute__((always_inline)) {
            constexpr float lowest = -std::numeric_limits<float>::infinity();
            Hit* heap = own.hits + q * s.k;
            f32x16 top = splat(lowest);
            for_vectors(
                count, [&](std::int64_t i, auto some) __attribute__((always_inline)) {
                  if constexpr (std::is_same_v<decltype(some), AllLanes>)
                    top = max(top, load(found + i));
                  else
                    top = max(top, load(found + i, some, lowest));
                });
            if (own.sizes[q] < s.k || max(top) > heap->score) insert_all(heap, own.sizes[q], s.k, row, count, found);
          });
  const Scratch all = scratch_of(scratch, 0, s);
  for (std::int64_t q = 0; q < s.queries; ++q) {
    Hit* heap = all.hits + q * s.k;
    for (std::int64_t w = 1; w < workers; ++w) {
      const Scratch own = scratch_of(scratch, w, s);
      for (std::int64_t i = 0; i < own.sizes[q]; ++i) insert(heap, all.sizes[q], s.k, own.hits[q * s.k + i]);
    }
    std::sort_heap(heap, heap + s.k, better);
    for (std::int64_t i = 0; i < s.k; ++i) {
      scores[q * s.k + i] = heap[i].score;
      indices[q * s.k + i] = heap[i].row;
    }
  }
}

template <class T>
void count_at_least(std::int64_t* counts, const float* least, const float* queries, const T* rows, const TopKShape& s,
                    void* scratch, std::int64_t workers) {
  for_workers(
      queries, rows, nullptr, s, scratch, workers,
      [&](const Scratch& own, std::int64_t q, std::int64_t, std::int64_t count, const float* found)
          __attribute__((always_inline)) {
            const f32x16 bound = splat(least[q]);
            f32x16 reached = {};
            for_vectors(
                count, [&](std::int64_t i, auto some) __attribute__((always_inline)) {
                  const f32x16 ones = load(found + i, some) >= bound ? splat(1) : splat(0);
                  if constexpr (std::is_same_v<decltype(some), AllLanes>)
                    reached += ones;
                  else
                    reached += first_lanes(ones, some);
                });
            own.sizes[q] += static_cast<std::int64_t>(sum(reached));
          });
  std::fill_n(counts, s.queries, 0);
  for (std::int64_t w = 0; w < workers; ++w)
    for (std::int64_t q = 0; q < s.queries; ++q) counts[q] += scratch_of(scratch, w, s).sizes[q];
}

template <class T>
float score_of(const float* query, const T* row, std::int64_t cols) {
  float score = 0;
  vectorized(0, 1, [&](std::int64_t, std::int64_t) {
    f32x16 lane_sums;
    chains<1, 1>(&lane_sums, 1, query, &row, cols);
    score = sum(lane_sums);
  });
  return score;
}

template <class T>
std::int64_t first_unsearchable(const T* rows, std::int64_t count, std::int64_t cols) {
  std::atomic<std::int64_t> found{count};
  parallel_rows(count, cols, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t r = begin;
    while (r < end && std::isfinite(dot(rows + r * cols, rows + r * cols, cols))) ++r;
    std::int64_t before = found;
    while (r < end && r < before && !found.compare_exchange_weak(before, r)) {
    }
  });
  return found == count ? -1 : found.load();
}

template void top_k(float*, std::int64_t*, const float*, const float*, const float*, const TopKShape&, void*,
                    std::int64_t);
template void top_k(float*, std::int64_t*, const float*, const f16*, const float*, const TopKShape&, void*,
                    std::int64_t);
template void top_k(float*, std::int64_t*, const float*, const std::uint8_t*, const float*, const TopKShape&, void*,
                    std::int64_t);
template void count_at_least(std::int64_t*, const float*, const float*, const float*, const TopKShape&, void*,
                             std::int64_t);
template float score_of(const float*, const float*, std::int64_t);
template float score_of(const float*, const f16*, std::int64_t);
template std::int64_t first_unsearchable(const float*, std::int64_t, std::int64_t);
template std::int64_t first_unsearchable(const f16*, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
