// Forward a warp copies a row, 16 bytes to a lane where addresses allow, else 4 or 1.
// Backward sorts the rows by id, stably, so that a block of threads sums each entry's rows in registers, in order, and
// writes it once; atomics only count. The sort goes by chunks of 1024 rows:
//   count    of each chunk and entry, how many rows
//   offsets  of each entry, these counts summed over the chunks before, and the entry's total
//   starts   the totals summed over the entries before
//   place    a row's place is its entry's start + its chunk's offset + how many rows before it in the chunk have its id
#include "kernels/embedding.hpp"

#include "kernels/device/cells.cuh"
#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/shared.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr unsigned rows_in_block = 8;

/// `Unit` is what a lane copies at a time, a row being `units` of them.
template <class Unit, class I>
__global__ void __launch_bounds__(32 * rows_in_block)
    copy_rows(Unit* y, const Unit* table, const I* ids, std::int64_t rows, std::int64_t units) {
  const std::int64_t row = std::int64_t{blockIdx.x} * rows_in_block + threadIdx.y;
  if (row >= rows) return;
  const Unit* const from = table + ids[row] * units;
  for (std::int64_t i = threadIdx.x; i < units; i += 32)
    aligned_as<Unit>(y + row * units + i) = aligned_as<Unit>(from + i);
}

constexpr int chunk = 1024;  // rows, and threads of a block that has one

template <class I>
__global__ void __launch_bounds__(chunk)
    count_rows(std::int32_t* counts, const I* ids, std::int64_t entries, std::int64_t rows) {
  std::int32_t* const own = counts + blockIdx.x * entries;
  for (std::int64_t e = threadIdx.x; e < entries; e += chunk) own[e] = 0;
  __syncthreads();
  const std::int64_t row = std::int64_t{blockIdx.x} * chunk + threadIdx.x;
  if (row < rows) atomicAdd(&own[ids[row]], 1);
}

constexpr unsigned offset_threads = 256;

/// Replaces counts by offsets; totals[e] = the entry's number of rows.
__global__ void __launch_bounds__(offset_threads)
    offsets_of_chunks(std::int64_t* totals, std::int32_t* counts, std::int64_t entries, std::int64_t chunks) {
  const std::int64_t e = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (e >= entries) return;
  std::int32_t sum = 0;
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::int32_t own = counts[c * entries + e];
    counts[c * entries + e] = sum;
    sum += own;
  }
  totals[e] = sum;
}

struct PartSums {
  std::int64_t each[chunk];
};

/// Replaces totals by starts, and writes the number of all rows behind them. One block, whose threads have a part each.
__global__ void __launch_bounds__(chunk) starts_of_entries(std::int64_t* totals, std::int64_t entries) {
  std::int64_t(&sums)[chunk] = shared_as<PartSums>().each;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t begin = entries * thread / chunk, end = entries * (thread + 1) / chunk;
  std::int64_t sum = 0;
  for (std::int64_t e = begin; e < end; ++e) sum += totals[e];
  sums[thread] = sum;
  __syncthreads();
  for (int step = 1; step < chunk; step *= 2) {  // sums[i] becomes the sum of all up to i
    const std::int64_t before = thread >= step ? sums[thread - step] : 0;
    __syncthreads();
    sums[thread] += before;
    __syncthreads();
  }
  std::int64_t start = thread == 0 ? 0 : sums[thread - 1];
  for (std::int64_t e = begin; e < end; ++e) {
    const std::int64_t own = totals[e];
    totals[e] = start;
    start += own;
  }
  if (thread == chunk - 1) totals[entries] = sums[chunk - 1];
}

template <class I>
struct ChunkIds {
  I each[chunk];
};

template <class I>
__global__ void __launch_bounds__(chunk)
    place_rows(std::int64_t* order, const std::int64_t* starts, const std::int32_t* offsets, const I* ids,
               std::int64_t entries, std::int64_t rows) {
  I(&chunk_ids)[chunk] = shared_as<ChunkIds<I>>().each;
  const std::int64_t row = std::int64_t{blockIdx.x} * chunk + threadIdx.x;
  if (row < rows) chunk_ids[threadIdx.x] = ids[row];
  __syncthreads();
  if (row >= rows) return;
  const I id = chunk_ids[threadIdx.x];
  std::int64_t before = 0;
  for (unsigned other = 0; other < threadIdx.x; ++other) before += chunk_ids[other] == id;
  order[starts[id] + offsets[blockIdx.x * entries + id] + before] = row;
}

constexpr unsigned sum_threads = 128;

/// A block has an entry; a thread every 128th N columns of it.
template <class T, int N>
__global__ void __launch_bounds__(sum_threads)
    sum_entries(T* dtable, const T* dy, const std::int64_t* starts, const std::int64_t* order, std::int64_t cols) {
  const std::int64_t begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  for (std::int64_t c = std::int64_t{threadIdx.x} * N; c < cols; c += sum_threads * N) {
    Floats<N> sum{};
#pragma unroll 4
    for (std::int64_t i = begin; i < end; ++i) {
      const auto v = load<N>(dy + order[i] * cols + c);
      for (int e = 0; e < N; ++e) sum[e] += v[e];
    }
    store(dtable + blockIdx.x * cols + c, sum);
  }
}

}  // namespace

template <class T, class I>
void embedding_backward(T* dtable, const T* dy, const I* ids, std::int64_t entries, std::int64_t rows,
                        std::int64_t cols, std::int64_t* scratch, Stream stream) {
  constexpr const char* name = "embedding";
  const std::int64_t chunks = embedding_chunks(rows);
  std::int64_t *const starts = scratch, *const order = starts + entries + 1;
  auto* const counts = reinterpret_cast<std::int32_t*>(order + rows);
  launch(name, {chunks, {chunk}}, stream, count_rows<I>, counts, ids, entries, rows);
  launch(name, {(entries + offset_threads - 1) / offset_threads, {offset_threads}}, stream, offsets_of_chunks, starts,
         counts, entries, chunks);
  launch(name, {1, {chunk}, sizeof(PartSums)}, stream, starts_of_entries, starts, entries);
  launch(name, {chunks, {chunk}, sizeof(ChunkIds<I>)}, stream, place_rows<I>, order, starts, counts, ids, entries,
         rows);
  const auto sum = [&]<int N>() {
    launch(name, {entries, {sum_threads}}, stream, sum_entries<T, N>, dtable, dy, starts, order, cols);
  };
  if (in_vectors<T>(cols, dtable, dy))
    sum.template operator()<vector_of<T>>();
  else
    sum.template operator()<1>();
}

template <class I>
void embedding_forward(void* y, const void* table, const I* ids, std::int64_t rows, std::int64_t row_bytes,
                       Stream stream) {
  const auto copy = [&]<class Unit>() {
    launch("embedding", {(rows + rows_in_block - 1) / rows_in_block, {32, rows_in_block}}, stream, copy_rows<Unit, I>,
           static_cast<Unit*>(y), static_cast<const Unit*>(table), ids, rows,
           row_bytes / static_cast<std::int64_t>(sizeof(Unit)));
  };
  dispatch_unit(copy, y, table, row_bytes);
}

template void embedding_forward(void*, const void*, const std::int32_t*, std::int64_t, std::int64_t, Stream);
template void embedding_forward(void*, const void*, const std::int64_t*, std::int64_t, std::int64_t, Stream);
template void embedding_backward(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*, Stream);
template void embedding_backward(float*, const float*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*, Stream);
template void embedding_backward(bf16*, const bf16*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*, Stream);
template void embedding_backward(bf16*, const bf16*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*, Stream);
template void embedding_backward(f16*, const f16*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*, Stream);
template void embedding_backward(f16*, const f16*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t,
                                 std::int64_t*, Stream);

}  // namespace clip::kernels::cuda
