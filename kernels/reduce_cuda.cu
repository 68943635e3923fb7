// Sums, each element read once, and always added in the same order.
// Along rows (inner = 1) one or more warps have a row (kernels/device/row.cuh). Along columns a block of 8 warps has
// 32 x 16 bytes of columns: each warp adds every eighth row into registers, and the warps' sums are added in turn.
// A maximum is that of integers made of a number and its place, so ties and NaN need no rules of their own; a block has
// 32 columns and 8 threads for each, or where inner = 1, one column or 8. Its backward writes each element once.
#include "kernels/reduce.hpp"

#include <cstring>

#include "kernels/device/cells.cuh"
#include "kernels/device/row.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int kept = 4;  // vectors of a row in each thread
constexpr int warps = 8;

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    sum_rows(float* y, const T* x, std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  float sum = 0;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) sum += v[e];
      },
      threads.template read<kept>(x + row * cols));
  sum = threads.sum(sum);
  if (threads.thread == 0) y[row] = sum;
}

template <int N>
struct WarpSums {
  Floats<N> each[warps][32];
};

/// Blocks of threads are [outer, ceil(inner / (32 N))].
template <class T, int N>
__global__ void __launch_bounds__(32 * warps) sum_columns(float* y, const T* x, std::int64_t n, std::int64_t inner) {
  const std::int64_t parts = (inner + 32 * N - 1) / (32 * N), outer = blockIdx.x / parts;
  const std::int64_t column = (blockIdx.x % parts * 32 + threadIdx.x) * N;
  Floats<N> sum{};
  if (column < inner)
    for (std::int64_t k = threadIdx.y; k < n; k += warps) {
      const auto v = load<N>(x + (outer * n + k) * inner + column);
      for (int e = 0; e < N; ++e) sum[e] += v[e];
    }
  auto& sums = shared_as<WarpSums<N>>().each;
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= inner) return;
  for (int warp = 1; warp < warps; ++warp)
    for (int e = 0; e < N; ++e) sum[e] += sums[warp][threadIdx.x][e];
  store(y + outer * inner + column, sum);
}

constexpr unsigned threads = 256;

struct MaxKeys {
  std::uint64_t each[threads];
};

/// A number that grows with x, equal for the two zeros, largest for NaN; and for equal x with falling k.
__device__ std::uint64_t max_key(float x, std::int64_t k) {
  std::uint32_t bits;
  x += 0.0f;
  std::memcpy(&bits, &x, sizeof bits);
  const std::uint32_t order = x != x ? ~0u : bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return std::uint64_t{order} << 32 | ~static_cast<std::uint32_t>(k);
}

/// A block has threads / ways columns (o, i), and `ways` threads for each.
template <class T>
__global__ void __launch_bounds__(threads) max_columns(T* y, std::int64_t* index, const T* x, std::int64_t outer,
                                                       std::int64_t n, std::int64_t inner, unsigned ways) {
  std::uint64_t(&keys)[threads] = shared_as<MaxKeys>().each;
  const unsigned columns = threads / ways;
  const unsigned way = inner == 1 ? threadIdx.x % ways : threadIdx.x / columns;
  const std::int64_t column =
      std::int64_t{blockIdx.x} * columns + (inner == 1 ? threadIdx.x / ways : threadIdx.x % columns);
  const bool inside = column < outer * inner;
  const T* const in = x + column / inner * n * inner + column % inner;
  std::uint64_t key = 0;
  if (inside)
    for (std::int64_t k = way; k < n; k += ways) key = std::max(key, max_key(widen(in[k * inner]), k));
  keys[threadIdx.x] = key;
  const unsigned next = inner == 1 ? 1 : columns;  // from a thread to that of the next way
  for (unsigned half = ways / 2; half > 0; half /= 2) {
    __syncthreads();
    if (way < half) keys[threadIdx.x] = std::max(keys[threadIdx.x], keys[threadIdx.x + half * next]);
  }
  if (way != 0 || !inside) return;
  const std::int64_t k = ~static_cast<std::uint32_t>(keys[threadIdx.x]);
  index[column] = k;
  y[column] = in[k * inner];
}

template <class T>
__global__ void __launch_bounds__(Cells::most)
    spread(T* dx, const T* dy, const std::int64_t* index, std::int64_t n, Cells cells) {
  if (!cells.inside()) return;
  const std::int64_t from = cells.row() / n * cells.cols + cells.col();
  dx[cells.row() * cells.cols + cells.col()] = index[from] == cells.row() % n ? dy[from] : T(0.0f);
}

}  // namespace

template <class T>
void sum(float* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, Stream stream) {
  if (inner == 1)
    return launch("sum", row_grid<T, kept>(outer, n), stream, sum_rows<T>, y, x, outer, n, in_vectors<T>(n, x));
  const auto columns = [&]<int N>() {
    launch("sum", {outer * ((inner + 32 * N - 1) / (32 * N)), {32, warps}, sizeof(WarpSums<N>)}, stream,
           sum_columns<T, N>, y, x, n, inner);
  };
  if (in_vectors<T>(inner, x) && in_vectors<float>(inner, y))
    columns.template operator()<vector_of<T>>();
  else
    columns.template operator()<1>();
}

template <class T>
void max(T* y, std::int64_t* index, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner, Stream stream) {
  check(n <= 0xffffffff, "max", "expected a dimension of at most 2^32 - 1, got ", n);
  const unsigned ways = inner > 1 ? 8 : n > 1024 ? threads : 32;
  launch("max", {(outer * inner * ways + threads - 1) / threads, {threads}, sizeof(MaxKeys)}, stream, max_columns<T>, y,
         index, x, outer, n, inner, ways);
}

template <class T>
void max_backward(T* dx, const T* dy, const std::int64_t* index, std::int64_t outer, std::int64_t n, std::int64_t inner,
                  Stream stream) {
  const Cells cells(outer * n, inner);
  launch("max", cells.grid(), stream, spread<T>, dx, dy, index, n, cells);
}

template void sum(float*, const float*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void sum(float*, const bf16*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void sum(float*, const f16*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void max(float*, std::int64_t*, const float*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void max(bf16*, std::int64_t*, const bf16*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void max(f16*, std::int64_t*, const f16*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void max_backward(float*, const float*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void max_backward(bf16*, const bf16*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void max_backward(f16*, const f16*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
