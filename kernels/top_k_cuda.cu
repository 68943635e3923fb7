// A block of threads has a range of rows, each thread one row of a tile of 256, and 16 queries or one. Tiles pass
// through shared memory, 128 bytes of each row at a time and as they are stored, so that memory is read along the rows
// while each thread sums the columns of its own in order: the one order of every score. 16 queries then are bound by
// multiply-adds, one query by reading the rows once.
// A hit is an integer that holds the score and, for equal ones, the row, larger for lower rows: no two are equal, and
// the k best are the same however the work is split. A warp has the k best so far of a query in shared memory, sorted;
// few of the later rows pass the worst of them. The blocks' hits are merged by a second kernel. More than 128 hits are
// found 128 at a time: only rows worse than the last hit count the next time.
#include "kernels/top_k.hpp"

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/device/cells.cuh"
#include "kernels/device/shared.cuh"
#include "kernels/device/warp.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr unsigned threads = 256, warps = threads / 32;
constexpr std::int64_t tile = threads;  // rows
constexpr std::int64_t most_hits = 128, many_queries = 16;
constexpr int chunk_bytes = 128;
constexpr int pitch = chunk_bytes + 16;  // so that 8 threads read 16 bytes each from different banks
template <class T>
constexpr int chunk = chunk_bytes / static_cast<int>(sizeof(T));  // columns

using Hit = std::uint64_t;

__device__ Hit hit_of(float score, std::int64_t row) {
  std::uint32_t bits;
  score += 0.0f;  // the zeros are equal
  std::memcpy(&bits, &score, sizeof bits);
  const std::uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return Hit{order} << 32 | ~static_cast<std::uint32_t>(row);
}
__device__ float score_of(Hit hit) {
  const auto order = static_cast<std::uint32_t>(hit >> 32);
  const std::uint32_t bits = order >> 31 != 0 ? order & 0x7fffffffu : ~order;
  float score;
  std::memcpy(&score, &bits, sizeof score);
  return score;
}
__device__ std::int64_t row_of(Hit hit) { return ~static_cast<std::uint32_t>(hit); }

/// Puts each lane's hit into the sorted list of the k best if it belongs there; 0 never does. Called by a whole warp.
__device__ void offer(Hit* list, int k, Hit hit) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (;;) {
    const unsigned wanted = __ballot_sync(all_lanes, hit > list[k - 1]);
    if (wanted == 0) return;
    const int from = lowest_bit(wanted);
    const Hit next = __shfl_sync(all_lanes, hit, from);
    if (lane == from) hit = 0;
    for (int base = (k - 1) / 32 * 32; base >= 0; base -= 32) {
      const int p = base + lane;
      const Hit own = p < k ? list[p] : ~Hit{0}, before = p > 0 && p < k ? list[p - 1] : ~Hit{0};
      __syncwarp();
      if (own < next) list[p] = std::min(before, next);
      __syncwarp();
    }
  }
}

/// Shared memory of a block with Q queries; behind it the lists of hits.
template <class T, int Q>
struct alignas(16) Memory {
  union {
    unsigned char rows[tile][pitch];
    float scores[Q][tile];
  };
  float queries[Q][chunk<T>];
};

template <class T>
__device__ float number(T stored) {
  if constexpr (std::is_same_v<T, std::uint8_t>)
    return static_cast<float>(stored) - 128.0f;
  else
    return widen(stored);
}

/// A block's share of the work.
template <class T>
struct Work {
  const float* queries;
  const T* rows;
  std::int64_t all_queries, all_rows, cols, blocks;  ///< blocks of rows
  bool vectors;

  __device__ std::int64_t groups(int q) const { return (all_queries + q - 1) / q; }
  /// The blocks of one range of rows are next to each other, so that most of them find it in the cache.
  __device__ std::int64_t block(int q) const { return blockIdx.x / groups(q); }
  __device__ std::int64_t first_query(int q) const { return blockIdx.x % groups(q) * q; }
  __device__ std::int64_t begin(int q) const { return all_rows * block(q) / blocks; }
  __device__ std::int64_t end(int q) const { return all_rows * (block(q) + 1) / blocks; }
};

/// The dot products of the thread's row, `first` + its number, with the block's queries.
template <int Q, class T>
__device__ __forceinline__ Floats<Q> scan(Memory<T, Q>& memory, const Work<T>& work, std::int64_t first) {
  constexpr int N = vector_of<T>, C = chunk<T>;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first_query = work.first_query(Q), cols = work.cols;
  Floats<Q> sums{};
  for (std::int64_t from = 0; from < cols; from += C) {
    __syncthreads();  // what is there has been read
    if (work.vectors) {
#pragma unroll 4
      for (int i = thread; i < tile * chunk_bytes / 16; i += static_cast<int>(threads)) {
        const int row = i / (chunk_bytes / 16), part = i % (chunk_bytes / 16);
        const std::int64_t column = from + part * N;
        Packed<T, N> values{};
        if (first + row < work.all_rows && column < cols)
          values = load_packed<N>(work.rows + (first + row) * cols + column);
        store(reinterpret_cast<T*>(memory.rows[row]) + part * N, values);
      }
    } else {
      for (int i = thread; i < tile * C; i += static_cast<int>(threads)) {
        const int row = i / C, part = i % C;
        const bool inside = first + row < work.all_rows && from + part < cols;
        reinterpret_cast<T*>(memory.rows[row])[part] = inside ? work.rows[(first + row) * cols + from + part] : T{};
      }
    }
    for (int i = thread; i < Q * C; i += static_cast<int>(threads)) {
      const std::int64_t query = first_query + i / C, column = from + i % C;
      memory.queries[i / C][i % C] =
          query < work.all_queries && column < cols ? work.queries[query * cols + column] : 0.0f;
    }
    __syncthreads();
    const int used = static_cast<int>(std::min<std::int64_t>(C, cols - from));
    for (int c = 0; c < used; c += N) {
      const auto values = load_packed<N>(reinterpret_cast<const T*>(memory.rows[thread]) + c);
#pragma unroll
      for (int part = 0; part < N; part += 4)
#pragma unroll
        for (int q = 0; q < Q; ++q) {
          const auto x = load<4>(&memory.queries[q][c + part]);
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[q] = fmaf(x[e], number(values.e[part + e]), sums[q]);
        }
    }
  }
  return sums;
}

/// found [queries, blocks, k]; only what is worse than hit number `done` - 1 of the result, if there is one.
template <class T, int Q>
__global__ void __launch_bounds__(threads, Q == 1 ? 3 : 2)
    find(Hit* found, int k, const float* factors, Work<T> work, const float* scores, const std::int64_t* indices,
         std::int64_t all_hits, std::int64_t done) {
  auto& memory = shared_as<Memory<T, Q>>();
  Hit* const lists = reinterpret_cast<Hit*>(&memory + 1);
  const auto thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  for (int i = thread; i < Q * k; i += static_cast<int>(threads)) lists[i] = 0;
  const std::int64_t first_query = work.first_query(Q), end = work.end(Q);
  const int queries = static_cast<int>(std::min<std::int64_t>(Q, work.all_queries - first_query));
  for (std::int64_t first = work.begin(Q); first < end; first += tile) {
    const Floats<Q> sums = scan<Q>(memory, work, first);
    float factor = 1;
    if constexpr (std::is_same_v<T, std::uint8_t>)
      if (first + thread < end) factor = factors[first + thread];
    __syncthreads();  // the rows have been read
#pragma unroll
    for (int q = 0; q < Q; ++q) memory.scores[q][thread] = sums[q] * factor;
    __syncthreads();
    for (int q = warp; q < queries; q += static_cast<int>(warps)) {
      const std::int64_t last = (first_query + q) * all_hits + done - 1;
      const Hit bound = done == 0 ? ~Hit{0} : hit_of(scores[last], indices[last]);
      for (int i = lane; i < tile; i += 32) {
        const Hit hit = first + i < end ? hit_of(memory.scores[q][i], first + i) : 0;
        offer(lists + q * k, k, hit < bound ? hit : 0);
      }
    }
  }
  __syncthreads();
  for (int i = thread; i < queries * k; i += static_cast<int>(threads))
    found[((first_query + i / k) * work.blocks + work.block(Q)) * k + i % k] = lists[i];
}

/// A block has a query, a warp an eighth of its blocks' hits; the first warp then those of the others.
__global__ void __launch_bounds__(threads) merge(float* scores, std::int64_t* indices, const Hit* found, int k,
                                                 std::int64_t count, std::int64_t all_hits, std::int64_t done) {
  Hit* const lists = &shared_as<Hit>();
  const auto thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  Hit* const own = lists + warp * k;
  for (int i = lane; i < k; i += 32) own[i] = 0;
  __syncwarp();
  const Hit* const in = found + blockIdx.x * count;
  constexpr int ahead = 4;
  for (std::int64_t first = warp * 32; first < count; first += ahead * std::int64_t{threads}) {
    Hit hits[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const std::int64_t at = first + i * std::int64_t{threads} + lane;
      hits[i] = at < count ? in[at] : 0;
    }
#pragma unroll
    for (int i = 0; i < ahead; ++i) offer(own, k, hits[i]);
  }
  __syncthreads();
  if (warp != 0) return;
  for (int first = k; first < static_cast<int>(warps) * k; first += 32)
    offer(own, k, first + lane < static_cast<int>(warps) * k ? lists[first + lane] : 0);
  for (int i = lane; i < k; i += 32) {
    scores[blockIdx.x * all_hits + done + i] = score_of(own[i]);
    indices[blockIdx.x * all_hits + done + i] = row_of(own[i]);
  }
}

struct Counts {
  std::int32_t each[many_queries][threads];
};

/// found [queries, blocks]
template <class T, int Q>
__global__ void __launch_bounds__(threads, 2) count_rows(Hit* found, const float* least, Work<T> work) {
  auto& memory = shared_as<Memory<T, Q>>();
  const std::int64_t first_query = work.first_query(Q), end = work.end(Q);
  std::int32_t counts[Q] = {};
  for (std::int64_t first = work.begin(Q); first < end; first += tile) {
    const Floats<Q> sums = scan<Q>(memory, work, first);
    if (first + threadIdx.x >= end) continue;
#pragma unroll
    for (int q = 0; q < Q; ++q)
      if (first_query + q < work.all_queries) counts[q] += sums[q] >= least[first_query + q];
  }
  __syncthreads();  // the rows have been read
  auto& sums = shared_as<Counts>().each;
#pragma unroll
  for (int q = 0; q < Q; ++q) sums[q][threadIdx.x] = counts[q];
  __syncthreads();
  const std::int64_t query = first_query + threadIdx.x;
  if (threadIdx.x >= Q || query >= work.all_queries) return;
  Hit sum = 0;
  for (unsigned i = 0; i < threads; ++i) sum += static_cast<Hit>(sums[threadIdx.x][i]);
  found[query * work.blocks + work.block(Q)] = sum;
}

__global__ void __launch_bounds__(threads)
    add_counts(std::int64_t* counts, const Hit* found, std::int64_t queries, std::int64_t blocks) {
  const std::int64_t query = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  if (query >= queries) return;
  Hit sum = 0;
  for (std::int64_t b = 0; b < blocks; ++b) sum += found[query * blocks + b];
  counts[query] = static_cast<std::int64_t>(sum);
}

template <class T>
__global__ void __launch_bounds__(threads) score_pairs(float* scores, const std::int64_t* pairs, std::int64_t count,
                                                       const float* queries, const T* rows, std::int64_t cols) {
  const std::int64_t i = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (std::int64_t c = 0; c < cols; ++c)
    sum = fmaf(queries[pairs[2 * i] * cols + c], number(rows[pairs[2 * i + 1] * cols + c]), sum);
  scores[i] = sum;
}

struct Firsts {
  std::int64_t each[threads];
};

/// A warp takes every eighth row of the block's range. firsts[block] = the first bad one, `count` when there is none.
template <class T>
__global__ void __launch_bounds__(threads)
    find_unsearchable(std::int64_t* firsts, const T* rows, std::int64_t count, std::int64_t cols) {
  auto& shared = shared_as<Firsts>().each;
  const std::int64_t end = count * (std::int64_t{blockIdx.x} + 1) / gridDim.x;
  std::int64_t first = count;
  for (std::int64_t r = count * blockIdx.x / gridDim.x + threadIdx.x / 32; r < end; r += warps) {
    float sum = 0;
    for (std::int64_t c = threadIdx.x % 32; c < cols; c += 32) {
      const float x = number(rows[r * cols + c]);
      sum += x * x;
    }
    warp_sum(sum);
    if (!(sum < HUGE_VALF)) first = std::min(first, r);
  }
  shared[threadIdx.x] = first;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned i = 0; i < threads; i += 32) first = std::min(first, shared[i]);
  firsts[blockIdx.x] = first;
}

/// One thread.
__global__ void __launch_bounds__(1)
    first_of(std::int64_t* first, const std::int64_t* firsts, std::int64_t blocks, std::int64_t count) {
  std::int64_t least = count;
  for (std::int64_t i = 0; i < blocks; ++i) least = std::min(least, firsts[i]);
  first[0] = least == count ? -1 : least;
}

/// How many blocks a GPU of 132 multiprocessors runs at a time.
std::int64_t wanted_blocks(const TopKShape& s) { return 132 * (s.queries == 1 ? 3 : 2); }

/// Queries of a block.
int block_queries(const TopKShape& s) { return s.queries == 1 ? 1 : static_cast<int>(many_queries); }

std::int64_t groups_of(const TopKShape& s) { return (s.queries + block_queries(s) - 1) / block_queries(s); }

std::int64_t row_blocks(const TopKShape& s) {
  return std::clamp<std::int64_t>(wanted_blocks(s) / std::max<std::int64_t>(groups_of(s), 1), 1,
                                  std::max<std::int64_t>((s.rows + tile - 1) / tile, 1));
}

template <class T>
Work<T> work_of(const float* queries, const T* rows, const TopKShape& s) {
  check(s.rows < 0xffffffff, "top_k", "expected fewer than 2^32 - 1 rows, got ", s.rows);
  return {queries, rows, s.queries, s.rows, s.cols, row_blocks(s), in_vectors<T>(s.cols, rows)};
}

}  // namespace

std::int64_t top_k_scratch(const TopKShape& s) {
  return s.queries * row_blocks(s) * std::min(s.k, most_hits) * static_cast<std::int64_t>(sizeof(Hit));
}

template <class T>
void top_k(float* scores, std::int64_t* indices, const float* queries, const T* rows, const float* factors,
           const TopKShape& s, void* scratch, Stream stream) {
  const Work<T> work = work_of(queries, rows, s);
  auto* const found = static_cast<Hit*>(scratch);
  for (std::int64_t done = 0; done < s.k; done += most_hits) {
    const auto k = static_cast<int>(std::min(s.k - done, most_hits));
    const auto run = [&]<int Q>() {
      launch("top_k",
             {groups_of(s) * work.blocks, {threads}, sizeof(Memory<T, Q>) + sizeof(Hit) * Q * static_cast<unsigned>(k)},
             stream, find<T, Q>, found, k, factors, work, scores, indices, s.k, done);
    };
    if (s.queries == 1)
      run.template operator()<1>();
    else
      run.template operator()<many_queries>();
    launch("top_k", {s.queries, {threads}, sizeof(Hit) * warps * static_cast<unsigned>(k)}, stream, merge, scores,
           indices, found, k, work.blocks * k, s.k, done);
  }
}

template <class T>
void count_at_least(std::int64_t* counts, const float* least, const float* queries, const T* rows, const TopKShape& s,
                    void* scratch, Stream stream) {
  constexpr int Q = many_queries;
  Work<T> work = work_of(queries, rows, s);
  auto* const found = static_cast<Hit*>(scratch);
  launch("top_k", {(s.queries + Q - 1) / Q * work.blocks, {threads}, std::max(sizeof(Memory<T, Q>), sizeof(Counts))},
         stream, count_rows<T, Q>, found, least, work);
  launch("top_k", {(s.queries + threads - 1) / threads, {threads}}, stream, add_counts, counts, found, s.queries,
         work.blocks);
}

template <class T>
void scores_of(float* scores, const std::int64_t* pairs, std::int64_t count, const float* queries, const T* rows,
               std::int64_t cols, Stream stream) {
  launch("top_k", {(count + threads - 1) / threads, {threads}}, stream, score_pairs<T>, scores, pairs, count, queries,
         rows, cols);
}

template <class T>
void first_unsearchable(std::int64_t* first, const T* rows, std::int64_t count, std::int64_t cols,
                        std::int64_t* scratch, Stream stream) {
  const std::int64_t blocks = std::min((count + warps - 1) / warps, unsearchable_blocks);
  launch("top_k", {blocks, {threads}, sizeof(Firsts)}, stream, find_unsearchable<T>, scratch, rows, count, cols);
  launch("top_k", {1, {1}}, stream, first_of, first, scratch, blocks, count);
}

template void top_k(float*, std::int64_t*, const float*, const float*, const float*, const TopKShape&, void*, Stream);
template void top_k(float*, std::int64_t*, const float*, const f16*, const float*, const TopKShape&, void*, Stream);
template void top_k(float*, std::int64_t*, const float*, const std::uint8_t*, const float*, const TopKShape&, void*,
                    Stream);
template void count_at_least(std::int64_t*, const float*, const float*, const float*, const TopKShape&, void*, Stream);
template void count_at_least(std::int64_t*, const float*, const float*, const f16*, const TopKShape&, void*, Stream);
template void scores_of(float*, const std::int64_t*, std::int64_t, const float*, const float*, std::int64_t, Stream);
template void scores_of(float*, const std::int64_t*, std::int64_t, const float*, const f16*, std::int64_t, Stream);
template void first_unsearchable(std::int64_t*, const float*, std::int64_t, std::int64_t, std::int64_t*, Stream);
template void first_unsearchable(std::int64_t*, const f16*, std::int64_t, std::int64_t, std::int64_t*, Stream);

}  // namespace clip::kernels::cuda
