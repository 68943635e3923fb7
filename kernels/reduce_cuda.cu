// Sums, each element read once, and always added in the same order.
// Along rows (inner = 1) one or more warps have a row (kernels/device/row.cuh). Along columns a block of 8 warps has
// 32 x 16 bytes of columns: each warp adds every eighth row into registers, and the warps' sums are added in turn.
#include "kernels/reduce.hpp"

#include "kernels/device/row.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int kept = 4;  // vectors of a row in each thread
constexpr int warps = 8;

template <class T>
__global__ void sum_rows(float* y, const T* x, std::int64_t rows, std::int64_t cols, bool vectors) {
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
__global__ void sum_columns(float* y, const T* x, std::int64_t n, std::int64_t inner) {
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

template void sum(float*, const float*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void sum(float*, const bf16*, std::int64_t, std::int64_t, std::int64_t, Stream);
template void sum(float*, const f16*, std::int64_t, std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
