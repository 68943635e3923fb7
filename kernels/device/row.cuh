#pragma once
// Kernels over the rows of [rows, cols]. A row belongs to one or more whole warps: thread i of them has the vectors of
// 16 bytes i, i + threads, …, and keeps the first few in registers, so that a row of usual width is read from memory
// once however often the kernel passes over it. What is beyond them is read again, most of it from the caches.
// Where rows do not start at multiples of 16 bytes, a thread has single elements and keeps none.
#include <cmath>
#include <type_traits>

#include "kernels/column_sums.hpp"
#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/shared.cuh"
#include "kernels/device/warp.cuh"

namespace clip::kernels::cuda {

/// Where warps that share a row exchange sums: two places in turn, so that one barrier each time is enough.
struct RowExchange {
  float sums[2][2][32];
};

/// No block has more threads: with 128 registers for each, as many as kernels take that add up columns too.
inline constexpr unsigned most_row_threads = 512;

/// The grid for kernels of rows: as many warps for a row as keep `Kept` vectors in each thread hold; where that is one,
/// four rows to a block.
template <class T, int Kept>
Grid row_grid(std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t held = 32 * vector_of<T> * Kept;
  const auto warps =
      static_cast<unsigned>(std::clamp<std::int64_t>((cols + held - 1) / held, 1, most_row_threads / 32));
  const unsigned rows_in_block = warps == 1 ? 4 : 1;
  return {
      (rows + rows_in_block - 1) / rows_in_block, {32 * warps, rows_in_block}, warps == 1 ? 0 : sizeof(RowExchange)};
}

/// Where a thread's share of a row is: `column`, and which of the kept vectors, -1 for none.
struct At {
  int column, kept;
};

/// The thread's vectors of a row that are in registers, and the row.
template <class T, int Kept>
struct RowShare {
  Packed<T, vector_of<T>> kept[Kept];
  const T* row;
};

/// The threads of a row, from inside a kernel.
class RowThreads {
 public:
  __device__ RowThreads(std::int64_t row_cols, bool in_vectors_of_16)
      : thread(static_cast<int>(threadIdx.x)),
        threads(static_cast<int>(blockDim.x)),
        cols(static_cast<int>(row_cols)),
        vectors(in_vectors_of_16) {}

  /// Reads what the thread keeps of a row.
  template <int Kept, class T>
  __device__ RowShare<T, Kept> read(const T* row) const {
    constexpr int N = vector_of<T>;
    RowShare<T, Kept> share;
    share.row = row;
#pragma unroll
    for (int k = 0; k < Kept; ++k) {
      const int i = N * (thread + k * threads);
      if (vectors && i < cols) share.kept[k] = load_packed<N>(row + i);
    }
    return share;
  }

  /// f(where, its numbers of each row…) for the thread's share of all rows, in order.
  template <int Kept, class F, class... T>
  __device__ __forceinline__ void each(const F& f, const RowShare<T, Kept>&... in) const {
    columns<Kept, std::min({vector_of<T>...})>([&](At at, auto n) { f(at, numbers<decltype(n)::value>(at, in)...); });
  }

  /// f(where, how many) for the thread's columns: N at a time, or one.
  template <int Kept, int N, class F>
  __device__ __forceinline__ void columns(const F& f) const {
    if (vectors) {
#pragma unroll
      for (int k = 0; k < Kept; ++k) {
        const int i = N * (thread + k * threads);
        if (i < cols) f(At{i, k}, std::integral_constant<int, N>());
      }
      for (int i = N * (thread + Kept * threads); i < cols; i += N * threads)
        f(At{i, -1}, std::integral_constant<int, N>());
    } else {
      for (int i = thread; i < cols; i += threads) f(At{i, -1}, std::integral_constant<int, 1>());
    }
  }

  /// The sums of one or two numbers over the row's threads, for all of them; always added in the same order.
  template <int N>
  __device__ Floats<N> sum(Floats<N> x) {
    return combine(x, 0.0f, [](float a, float b) { return a + b; });
  }
  __device__ float sum(float x) { return sum(Floats<1>{{x}})[0]; }
  __device__ float max(float x) {
    return combine(Floats<1>{{x}}, -HUGE_VALF, [](float a, float b) { return fmaxf(a, b); })[0];
  }

  const int thread, threads, cols;
  const bool vectors;

 private:
  template <int N, class T, int Kept>
  __device__ __forceinline__ static Floats<N> numbers(At at, const RowShare<T, Kept>& in) {
    if constexpr (N > 1)
      if (at.kept >= 0) return widen(in.kept[at.kept]);
    return load<N>(in.row + at.column);
  }

  template <int N, class Op>
  __device__ Floats<N> combine(Floats<N> x, float neutral, const Op& op) {
    in_warp(x, op);
    if (threads == 32) return x;
    float(&sums)[2][32] = shared_as<RowExchange>().sums[turn_];
    turn_ ^= 1;
    const int lane = thread % 32;
    for (int n = 0; n < N; ++n)
      if (lane == 0) sums[n][thread / 32] = x[n];
    __syncthreads();
    for (int n = 0; n < N; ++n) x[n] = lane < threads / 32 ? sums[n][lane] : neutral;
    in_warp(x, op);
    return x;
  }
  template <int N, class Op>
  __device__ static void in_warp(Floats<N>& x, const Op& op) {
    static_assert(N <= 2);
    if constexpr (N == 1)
      over_lanes<32>(op, x[0]);
    else
      over_lanes<32>(op, x[0], x[1]);
  }

  int turn_ = 0;
};

/// The row that the thread's warps have in a grid of `row_grid`; it may be past the last.
__device__ inline std::int64_t row_of_thread() { return std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; }

// Kernels that also sum over rows, for each column: a block of threads has a range of rows, and where one warp has a
// row, that many rows at a time. Which rows are added up by whom depends on their number alone.

inline constexpr unsigned rows_at_a_time = 4;

/// The grid for `count` sums of each column.
template <class T, int Kept>
Grid column_sum_grid(std::int64_t rows, std::int64_t cols, std::size_t count) {
  Grid grid = row_grid<T, Kept>(rows, cols);
  grid.blocks = column_sum_blocks(rows);
  if (grid.threads.x == 32) {
    grid.threads.y = rows_at_a_time;
    grid.shared_bytes = rows_at_a_time * count * static_cast<std::size_t>(cols) * sizeof(float);
  }
  return grid;
}

/// The block's rows from `first` on, each `step`th before `end`, are those of the thread's warps.
struct RowRange {
  std::int64_t first, end, step;
  __device__ explicit RowRange(std::int64_t rows)
      : first(rows * blockIdx.x / gridDim.x + threadIdx.y),
        end(rows * (std::int64_t{blockIdx.x} + 1) / gridDim.x),
        step(blockDim.y) {}
};

/// A thread's `Count` sums of each of its columns, over the rows of its warps: of the kept columns in registers, of
/// others in memory that is theirs.
template <class T, int Kept, int Count>
class ColumnSums {
 public:
  /// The block's sums go to `partial` [blocks, Count, cols].
  __device__ ColumnSums(const RowThreads& threads, float* partial)
      : threads_(threads),
        total_(partial + std::int64_t{blockIdx.x} * Count * threads.cols),
        own_(blockDim.y == 1 ? total_ : &shared_as<float>() + threadIdx.y * Count * threads.cols) {
    each_own([&](At at, int e, int which) {
      if (at.kept < 0) own(at, e, which) = 0;
    });
  }

  /// Adds to the sum `which` of the e-th column at `at`.
  __device__ __forceinline__ void add(int which, At at, int e, float value) {
    if (at.kept >= 0)
      kept_[which][at.kept][e] += value;
    else
      own(at, e, which) += value;
  }

  /// Called by all threads of the block, once.
  __device__ void finish() {
    each_own([&](At at, int e, int which) {
      if (at.kept >= 0) own(at, e, which) = kept_[which][at.kept][e];
    });
    if (blockDim.y == 1) return;
    __syncthreads();
    const int columns = Count * threads_.cols;
    for (int c = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); c < columns;
         c += static_cast<int>(blockDim.x * blockDim.y)) {
      float sum = 0;
      for (unsigned y = 0; y < blockDim.y; ++y) sum += (&shared_as<float>())[y * columns + c];
      total_[c] = sum;
    }
  }

 private:
  __device__ float& own(At at, int e, int which) { return own_[which * threads_.cols + at.column + e]; }
  template <class F>
  __device__ __forceinline__ void each_own(const F& f) {
    threads_.template columns<Kept, vector_of<T>>([&](At at, auto n) {
#pragma unroll
      for (int which = 0; which < Count; ++which)
#pragma unroll
        for (int e = 0; e < decltype(n)::value; ++e) f(at, e, which);
    });
  }

  const RowThreads& threads_;
  float *const total_, *const own_;
  Floats<vector_of<T>> kept_[Count][Kept] = {};
};

}  // namespace clip::kernels::cuda
