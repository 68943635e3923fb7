// Sums over rows: a block of threads has a range of rows, and 32 x 16 bytes of columns at most; where there are fewer
// columns, it takes as many more rows at a time. A thread sums its rows in registers, then the block its threads in
// shared memory, then a second kernel the blocks. Who adds what depends on rows and cols alone, and there are no
// atomics. Variances are sums of squared deviations from running means (Welford 1962), combined as on the CPU.
// The rest is a pass over memory, in which a thread has 16 bytes of columns of 4 rows, and their parameters in
// registers.
#include "kernels/batch_norm.hpp"

#include <cmath>

#include "kernels/device/cells.cuh"
#include "kernels/device/shared.cuh"
#include "kernels/reduce.hpp"

namespace clip::kernels::cuda {
namespace {

constexpr unsigned threads = 256;

/// How threads share sums over rows, N columns to each.
struct ColumnGrid {
  std::int64_t blocks;   ///< of rows
  unsigned pieces;       ///< blocks of columns
  unsigned width, ways;  ///< threads of a block next to each other, and rows at a time

  ColumnGrid(std::int64_t rows, std::int64_t cols, int per_thread)
      : blocks(batch_norm_blocks(rows, cols)),
        pieces(static_cast<unsigned>((cols + 32 * per_thread - 1) / (32 * per_thread))),
        width(static_cast<unsigned>(std::min<std::int64_t>((cols + per_thread - 1) / per_thread, 32))),
        ways(threads / std::max(width, 1u)) {}

  /// With shared memory for two sums of each column by each thread.
  Grid grid(int per_thread) const {
    return {blocks * pieces, {width, ways}, 2 * sizeof(float) * width * ways * static_cast<unsigned>(per_thread)};
  }
};

/// The rows `first`, `first` + ways, … before `end` that the thread sums, and its first column.
template <int N>
struct Share {
  std::int64_t begin, end, column;
  __device__ Share(const ColumnGrid& grid, std::int64_t rows)
      : begin(rows * (blockIdx.x / grid.pieces) / grid.blocks),
        end(rows * (blockIdx.x / grid.pieces + 1) / grid.blocks),
        column((std::int64_t{blockIdx.x % grid.pieces} * 32 + threadIdx.x) * N) {}
  __device__ std::int64_t first() const { return begin + threadIdx.y; }
  /// How many rows of the block a thread with this y has.
  __device__ std::int64_t rows_of(unsigned way) const {
    return std::max<std::int64_t>(0, (end - begin - way + blockDim.y - 1) / blockDim.y);
  }
};

/// The two sums of a thread, where the block finds them.
template <int N>
__device__ float* shared_sums(unsigned way, unsigned x) {
  return &shared_as<float>() + (way * blockDim.x + x) * 2 * N;
}

/// Mean and squared deviations of `count` numbers more.
template <class S>
__device__ void combine(S& mean, S& squares, S& n, S mean_of_more, S squares_of_more, S count) {
  if (count == 0) return;
  const S delta = mean_of_more - mean, share = count / (n + count);
  mean += delta * share;
  squares += squares_of_more + delta * delta * (n * share);
  n += count;
}

template <class T, int N>
__global__ void __launch_bounds__(threads)
    partial_statistics(float* partial, const T* x, std::int64_t rows, std::int64_t cols, ColumnGrid grid) {
  const Share<N> share(grid, rows);
  Floats<N> mean{}, squares{};
  float n = 0;
  if (share.column < cols) {
#pragma unroll 4
    for (std::int64_t r = share.first(); r < share.end; r += blockDim.y) {
      const auto v = load<N>(x + r * cols + share.column);
      const float weight = __fdividef(1.0f, n += 1);
#pragma unroll
      for (int e = 0; e < N; ++e) {
        const float delta = v[e] - mean[e];
        mean[e] += delta * weight;
        squares[e] += delta * (v[e] - mean[e]);
      }
    }
  }
  float* const own = shared_sums<N>(threadIdx.y, threadIdx.x);
#pragma unroll
  for (int e = 0; e < N; ++e) own[e] = mean[e], own[N + e] = squares[e];
  __syncthreads();
  for (unsigned c = threadIdx.y * blockDim.x + threadIdx.x; c < blockDim.x * N; c += blockDim.x * blockDim.y) {
    const std::int64_t column = share.column - threadIdx.x * N + c;
    if (column >= cols) return;
    float m = 0, q = 0, count = 0;
    for (unsigned way = 0; way < blockDim.y; ++way) {
      const float* const other = shared_sums<N>(way, c / N) + c % N;
      combine(m, q, count, other[0], other[N], static_cast<float>(share.rows_of(way)));
    }
    float* const out = partial + blockIdx.x / grid.pieces * 2 * cols + column;
    out[0] = m;
    out[cols] = q;
  }
}

struct WaySums {
  double mean[32][32], squares[32][32], count[32][32];
};

/// A block has 32 columns, and 32 threads for each.
__global__ void __launch_bounds__(1024) statistics(float* mean, float* variance, const float* partial,
                                                   std::int64_t rows, std::int64_t cols, std::int64_t blocks) {
  auto& sums = shared_as<WaySums>();
  const unsigned x = threadIdx.x, way = threadIdx.y;
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + x;
  double m = 0, q = 0, count = 0;
  if (column < cols) {
#pragma unroll 4
    for (std::int64_t b = way; b < blocks; b += 32) {
      const std::int64_t begin = rows * b / blocks, end = rows * (b + 1) / blocks;
      const float* const own = partial + b * 2 * cols + column;
      combine<double>(m, q, count, own[0], own[cols], static_cast<double>(end - begin));
    }
  }
  sums.mean[way][x] = m;
  sums.squares[way][x] = q;
  sums.count[way][x] = count;
  __syncthreads();
  if (way != 0 || column >= cols) return;
  for (int other = 1; other < 32; ++other)
    combine(m, q, count, sums.mean[other][x], sums.squares[other][x], sums.count[other][x]);
  mean[column] = static_cast<float>(m);
  variance[column] = static_cast<float>(q / static_cast<double>(rows));
}

template <class T, int N>
__global__ void __launch_bounds__(threads)
    partial_gradients(float* partial, const T* dy, const T* x, const float* mean, const float* rstd, std::int64_t rows,
                      std::int64_t cols, ColumnGrid grid) {
  const Share<N> share(grid, rows);
  Floats<N> w{}, b{};
  if (share.column < cols) {
    const auto m = load<N>(mean + share.column);
#pragma unroll 4
    for (std::int64_t r = share.first(); r < share.end; r += blockDim.y) {
      const auto g = load<N>(dy + r * cols + share.column), v = load<N>(x + r * cols + share.column);
#pragma unroll
      for (int e = 0; e < N; ++e) w[e] += g[e] * (v[e] - m[e]), b[e] += g[e];
    }
  }
  float* const own = shared_sums<N>(threadIdx.y, threadIdx.x);
#pragma unroll
  for (int e = 0; e < N; ++e) own[e] = w[e], own[N + e] = b[e];
  __syncthreads();
  for (unsigned c = threadIdx.y * blockDim.x + threadIdx.x; c < blockDim.x * N; c += blockDim.x * blockDim.y) {
    const std::int64_t column = share.column - threadIdx.x * N + c;
    if (column >= cols) return;
    float weight = 0, bias = 0;
    for (unsigned way = 0; way < blockDim.y; ++way) {
      const float* const other = shared_sums<N>(way, c / N) + c % N;
      weight += other[0];
      bias += other[N];
    }
    float* const out = partial + blockIdx.x / grid.pieces * 2 * cols + column;
    out[0] = weight * rstd[column];
    out[cols] = bias;
  }
}

__global__ void __launch_bounds__(threads)
    update(float* running_mean, float* running_variance, const float* mean, const float* variance, float momentum,
           float unbiased, std::int64_t cols) {
  const std::int64_t c = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  if (c >= cols) return;
  running_mean[c] += momentum * (mean[c] - running_mean[c]);
  running_variance[c] += momentum * (variance[c] * unbiased - running_variance[c]);
}

__global__ void __launch_bounds__(threads)
    reciprocal_deviation(float* rstd, const float* variance, float eps, std::int64_t cols) {
  const std::int64_t c = std::int64_t{blockIdx.x} * threads + threadIdx.x;
  if (c < cols) rstd[c] = 1.0f / sqrtf(variance[c] + eps);
}

constexpr int rows_each = 4;

template <class T, int N>
__global__ void __launch_bounds__(threads) forward(T* y, const T* x, const float* mean, const float* rstd,
                                                   const float* weight, const float* bias, Cells cells) {
  const std::int64_t c = cells.col() * N;
  if (cells.col() >= cells.cols) return;
  const auto m = load<N>(mean + c), b = load<N>(bias + c), w = load<N>(weight + c);
  auto scale = load<N>(rstd + c);
#pragma unroll
  for (int e = 0; e < N; ++e) scale[e] *= w[e];
  cells.each_row<rows_each>([&](std::int64_t r) {
    const std::int64_t at = r * cells.cols * N + c;
    auto v = load<N>(x + at);
#pragma unroll
    for (int e = 0; e < N; ++e) v[e] = (v[e] - m[e]) * scale[e] + b[e];
    store(y + at, v);
  });
}

/// dx = scale (dy - (x - mean) slope - shift); of running statistics slope and shift are 0, and x is not read.
template <class T, int N>
__global__ void __launch_bounds__(threads)
    backward(T* dx, const T* dy, const T* x, const float* mean, const float* rstd, const float* weight,
             const float* dparameters, float one_over_rows, Cells cells) {
  const std::int64_t c = cells.col() * N, cols = cells.cols * N;
  if (cells.col() >= cells.cols) return;
  auto scale = load<N>(rstd + c);
  const auto w = load<N>(weight + c);
  Floats<N> m{}, slope{}, shift{};
  if (dparameters != nullptr) {
    m = load<N>(mean + c);
    slope = load<N>(dparameters + c);
    shift = load<N>(dparameters + cols + c);
#pragma unroll
    for (int e = 0; e < N; ++e) slope[e] *= scale[e] * one_over_rows, shift[e] *= one_over_rows;
  }
#pragma unroll
  for (int e = 0; e < N; ++e) scale[e] *= w[e];
  cells.each_row<rows_each>([&](std::int64_t r) {
    const std::int64_t at = r * cols + c;
    auto g = load<N>(dy + at);
    Floats<N> v{};
    if (dparameters != nullptr) v = load<N>(x + at);
#pragma unroll
    for (int e = 0; e < N; ++e) g[e] = scale[e] * (g[e] - shift[e] - (v[e] - m[e]) * slope[e]);
    store(dx + at, g);
  });
}

/// f.operator()<N>() for as many columns to a thread as all addresses allow.
template <class T, class F, class... Pointers>
void dispatch_columns(const F& f, std::int64_t cols, const Pointers*... rows) {
  if (in_vectors<T>(cols, rows...))
    f.template operator()<vector_of<T>>();
  else
    f.template operator()<1>();
}

Grid one_for_each(std::int64_t cols) { return {(cols + threads - 1) / threads, {threads}}; }

}  // namespace

template <class T>
void batch_norm_statistics(float* mean, float* variance, float* partial, const T* x, std::int64_t rows,
                           std::int64_t cols, Stream stream) {
  dispatch_columns<T>(
      [&]<int N>() {
        const ColumnGrid grid(rows, cols, N);
        launch("batch_norm", grid.grid(N), stream, partial_statistics<T, N>, partial, x, rows, cols, grid);
      },
      cols, x);
  launch("batch_norm", {(cols + 31) / 32, {32, 32}, sizeof(WaySums)}, stream, statistics, mean, variance, partial, rows,
         cols, batch_norm_blocks(rows, cols));
}

void batch_norm_update(float* running_mean, float* running_variance, const float* mean, const float* variance,
                       float momentum, std::int64_t rows, std::int64_t cols, Stream stream) {
  launch("batch_norm", one_for_each(cols), stream, update, running_mean, running_variance, mean, variance, momentum,
         static_cast<float>(rows) / static_cast<float>(rows - 1), cols);
}

void batch_norm_rstd(float* rstd, const float* variance, float eps, std::int64_t cols, Stream stream) {
  launch("batch_norm", one_for_each(cols), stream, reciprocal_deviation, rstd, variance, eps, cols);
}

template <class T>
void batch_norm_forward(T* y, const T* x, const float* mean, const float* rstd, const float* weight, const float* bias,
                        std::int64_t rows, std::int64_t cols, Stream stream) {
  dispatch_columns<T>(
      [&]<int N>() {
        const Cells cells(rows, cols / N, rows_each);
        launch("batch_norm", cells.grid(), stream, forward<T, N>, y, x, mean, rstd, weight, bias, cells);
      },
      cols, y, x, mean, rstd, weight, bias);
}

template <class T>
void batch_norm_parameter_gradients(float* dparameters, float* partial, const T* dy, const T* x, const float* mean,
                                    const float* rstd, std::int64_t rows, std::int64_t cols, Stream stream) {
  dispatch_columns<T>(
      [&]<int N>() {
        const ColumnGrid grid(rows, cols, N);
        launch("batch_norm", grid.grid(N), stream, partial_gradients<T, N>, partial, dy, x, mean, rstd, rows, cols,
               grid);
      },
      cols, dy, x, mean);
  sum(dparameters, partial, 1, batch_norm_blocks(rows, cols), 2 * cols, stream);
}

template <class T>
void batch_norm_backward(T* dx, const T* dy, const T* x, const float* mean, const float* rstd, const float* weight,
                         const float* dparameters, std::int64_t rows, std::int64_t cols, Stream stream) {
  dispatch_columns<T>(
      [&]<int N>() {
        const Cells cells(rows, cols / N, rows_each);
        launch("batch_norm", cells.grid(), stream, backward<T, N>, dx, dy, x, mean, rstd, weight, dparameters,
               1.0f / static_cast<float>(rows), cells);
      },
      cols, dx, dy, x, mean, rstd, weight, dparameters);
}

template void batch_norm_statistics(float*, float*, float*, const float*, std::int64_t, std::int64_t, Stream);
template void batch_norm_forward(float*, const float*, const float*, const float*, const float*, const float*,
                                 std::int64_t, std::int64_t, Stream);
template void batch_norm_parameter_gradients(float*, float*, const float*, const float*, const float*, const float*,
                                             std::int64_t, std::int64_t, Stream);
template void batch_norm_backward(float*, const float*, const float*, const float*, const float*, const float*,
                                  const float*, std::int64_t, std::int64_t, Stream);
template void batch_norm_statistics(float*, float*, float*, const bf16*, std::int64_t, std::int64_t, Stream);
template void batch_norm_forward(bf16*, const bf16*, const float*, const float*, const float*, const float*,
                                 std::int64_t, std::int64_t, Stream);
template void batch_norm_parameter_gradients(float*, float*, const bf16*, const bf16*, const float*, const float*,
                                             std::int64_t, std::int64_t, Stream);
template void batch_norm_backward(bf16*, const bf16*, const bf16*, const float*, const float*, const float*,
                                  const float*, std::int64_t, std::int64_t, Stream);
template void batch_norm_statistics(float*, float*, float*, const f16*, std::int64_t, std::int64_t, Stream);
template void batch_norm_forward(f16*, const f16*, const float*, const float*, const float*, const float*, std::int64_t,
                                 std::int64_t, Stream);
template void batch_norm_parameter_gradients(float*, float*, const f16*, const f16*, const float*, const float*,
                                             std::int64_t, std::int64_t, Stream);
template void batch_norm_backward(f16*, const f16*, const f16*, const float*, const float*, const float*, const float*,
                                  std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
