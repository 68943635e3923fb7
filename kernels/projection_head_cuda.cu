// Two ways. Heads of bf16 and f16 with at most 512 columns are one kernel forward, and one backward but for the
// gradients of weights and inputs, which are matrix products. The others, as on the CPU, are products with kernels for
// what is between them and for the tail: z = dropout(y) + h, out = LayerNorm(z).
//
// whole_forward: a block owns some rows and all their columns (kernels/device/block_product.cuh). h = x W1^T + b1 stays
// in its registers while x and W1 pass through shared memory; rounded, it takes the place of x there. From there h goes
// to memory, GELU of it is left in its place, and is the left factor of y = GELU(h) W2^T + b2, which in turn takes its
// place. Then each warp does the tail of some of the rows; h comes back from the caches. Backward does not need GELU(h)
// in memory: it makes it again from h.
// whole_backward: each warp does some rows of the tail's gradient; dy goes to memory and stays in shared memory, dz
// waits in dh's place. dg = dy W2 takes dy's place; then, row by row again, dh = dz + dg GELU'(h), and GELU(h) for the
// gradient of W2. Sums over rows are one for each block, so nothing depends on the order of blocks.
//
// Memory, bytes a row in 16 bits, E columns in, D out; with D = 256:        E = 2048    768
//   forward, all that is kept for backward:   2E + 6D  (x; h, z, out)          5632   3072
//   forward alone:                            2E + 2D  (x; out, h before it)   4608   2048
//   backward:                                 12D  (dout, z, h; dy, dh, GELU)  3072   3072
// and the blocks' sums, 16D bytes for 64 rows. As products with kernels between, forward is 2E + 18D and backward 20D.
// Weights come from the level-2 cache: 2D (E + D) bytes forward, 2D D backward, for each block. That asks for tall
// blocks: with 128 rows a byte from there is used for 85 operations (E large, D <= 256), with 64 rows and D = 512
// for 57. Multiplications: 2D (E + D) a row forward, 2D D backward; a warp's tile of 64 by 64 uses a byte of shared
// memory 32 times. Forward has two heights: few rows are shared out among more multiprocessors by low blocks, which are
// also what fits where a block can have 99 KiB.
//
// Kernels of rows: one warp has a row, or several where it is wide (kernels/device/row.cuh). Forward, z stays in
// registers between the passes for mean, squared deviations and result. Backward a thread has the same columns of every
// row of its warps and sums the gradients of scale, shift and bias of them in registers (ColumnSums); dropout's mask is
// computed again. No atomics: results are the same from run to run.
// Memory, bf16, bytes an element: forward 4 read, 4 written, of which z (in place of y) is for backward alone;
// backward 4 read and 4 written; GELU's backward 6 read and 2 written.
#include "kernels/device/activation.cuh"
#include "kernels/device/block_product.cuh"
#include "kernels/device/dropout.cuh"
#include "kernels/device/layer_norm.cuh"
#include "kernels/projection_head.hpp"

namespace clip::kernels::cuda {
namespace {

constexpr const char* name = "projection_head";
constexpr int kept = 4;           // vectors of a row in each thread, forward
constexpr int kept_backward = 2;  // there each also has sums of its columns

/// What the tail of a head reads and writes, but for y.
template <class T>
struct Tail {
  T *out, *z;  ///< z, mean and rstd are null where backward will not need them
  float *mean, *rstd;
  const T* h;
  const float *weight, *bias;
  float eps;
  Dropped dropped;
  bool drops;

  /// The tail of a row whose y is there.
  template <int Kept>
  __device__ __forceinline__ void apply(RowThreads& threads, const T* y, std::int64_t row) const {
    const std::int64_t first = row * threads.cols;
    auto zs = threads.template read<Kept>(y);
    float sum = 0;
    threads.each(
        [&](At at, auto v, auto residual) {
          if (drops) dropped.apply(first + at.column, v);
          for (int e = 0; e < v.size; ++e) v[e] += residual[e];
          const auto rounded = round<T>(v);  // what backward will read: statistics are of that
          if (z != nullptr) store(z + first + at.column, rounded);
          if constexpr (v.size > 1)
            if (at.kept >= 0) zs.kept[at.kept] = rounded;
          v = widen(rounded);
          for (int e = 0; e < v.size; ++e) sum += v[e];
        },
        zs, threads.template read<Kept>(h + first));
    const float m = threads.sum(sum) / static_cast<float>(threads.cols);
    const float s = normalize_row(threads, out + first, zs, m, weight, bias, eps);
    if (threads.thread == 0 && z != nullptr) {
      mean[row] = m;
      rstd[row] = s;
    }
  }
};

template <class T>
__global__ void tail_forward(Tail<T> tail, std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  tail.template apply<kept>(threads, tail.z + row * cols, row);
}

/// What the tail's backward reads and writes, but for dy.
template <class T>
struct TailGradient {
  T* dz;
  const T *dout, *z;
  const float *mean, *rstd, *weight;
  Dropped dropped;
  bool drops;

  /// Of a row; keep(at, dy) gets its share of dy, and `sums` what scale, shift and the second bias get.
  template <int Kept, class Sums, class Keep>
  __device__ __forceinline__ void apply(RowThreads& threads, Sums& sums, std::int64_t row, const Keep& keep) const {
    const std::int64_t first = row * threads.cols;
    const auto douts = threads.template read<Kept>(dout + first), zs = threads.template read<Kept>(z + first);
    const RowGradient gradient(threads, douts, zs, mean[row], rstd[row], weight);
    threads.each(
        [&](At at, auto g, auto v) {
          gradient.apply(sums, at, g, v);
          store(dz + first + at.column, g);
          if (drops) dropped.apply(first + at.column, g);
          for (int e = 0; e < g.size; ++e) sums.add(2, at, e, g[e]);
          keep(at, g);
        },
        douts, zs);
  }
};

template <class T>
__global__ void tail_backward(TailGradient<T> tail, T* dy, float* partial, std::int64_t rows, std::int64_t cols,
                              bool vectors) {
  RowThreads threads(cols, vectors);
  ColumnSums<T, kept_backward, 3> sums(threads, partial);
  const RowRange range(rows);
  for (std::int64_t row = range.first; row < range.end; row += range.step)
    tail.template apply<kept_backward>(threads, sums, row, [&](At at, const auto& g) {
      if (dy != tail.dz) store(dy + row * cols + at.column, g);
    });
  sums.finish();
}

template <class T>
__global__ void gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols,
                              bool vectors) {
  RowThreads threads(cols, vectors);
  ColumnSums<T, kept_backward, 1> sums(threads, partial);
  const RowRange range(rows);
  for (std::int64_t row = range.first; row < range.end; row += range.step)
    threads.each(
        [&](At at, auto d, auto g, auto x) {
          for (int e = 0; e < d.size; ++e) {
            d[e] += g[e] * activation_derivative<Activation::gelu>(x[e]);
            sums.add(0, at, e, d[e]);
          }
          store(dh + row * cols + at.column, d);
        },
        threads.template read<kept_backward>(static_cast<const T*>(dh + row * cols)),
        threads.template read<kept_backward>(dg + row * cols), threads.template read<kept_backward>(h + row * cols));
  sums.finish();
}

/// How many chunks of the depth have places in shared memory, where there are up to so many columns.
template <int Columns>
constexpr int stages = Columns <= 256 ? 3 : 2;
/// Vectors of a row in each thread of a warp.
template <class T, int Columns>
constexpr int whole_kept = Columns / (32 * vector_of<T>);
/// Strips of rows of a warp.
constexpr int tall = 4, low = 1, backward_strips = 2;

constexpr int chunks(std::int64_t depth) { return static_cast<int>((depth + chunk_depth - 1) / chunk_depth); }

template <class T, int Columns, int Strips>
struct WholeForwardMemory {
  static constexpr int rows = BlockTile<Columns, Strips>::rows;
  alignas(16) PaddedRow<T, chunk_depth> weights[stages<Columns>][Columns];
  union {
    PaddedRow<T, chunk_depth> x[stages<Columns>][rows];
    PaddedRow<T, Columns> own[rows];  // h, GELU(h), y
  };
};

template <class T, int Columns, int Strips>
__global__ void __launch_bounds__(product_threads, Strips == tall ? 1 : 2)
    whole_forward(Tail<T> tail, T* h, const T* x, HeadWeights<T> weights, std::int64_t rows, int in, int cols) {
  using Memory = WholeForwardMemory<T, Columns, Strips>;
  auto& memory = shared_as<Memory>();
  constexpr int block_rows = Memory::rows, places = stages<Columns>;
  const std::int64_t first = std::int64_t{blockIdx.x} * block_rows;
  const int end = static_cast<int>(std::min<std::int64_t>(block_rows, rows - first));
  const int warp = static_cast<int>(threadIdx.y);
  x += first * in;

  const auto begin_first = [&](int c) {
    const int from = c * chunk_depth;
    copy_chunk<block_rows, chunk_depth>(memory.x[c % places], x + from, in, end, in - from);
    copy_chunk<Columns, chunk_depth>(memory.weights[c % places], weights.projection + from, in, cols, in - from);
  };
  BlockTile<Columns, Strips> hs;
  begin_chunks<places>(chunks(in), begin_first);
  each_chunk<places>(chunks(in), begin_first, [&](int c) {
    add_dots(hs, memory.x[c % places][0], chunk_depth + vector_of<T>, cols, memory.weights[c % places]);
  });
  __syncthreads();

  const auto begin_second = [&](int c) {
    const int from = c * chunk_depth;
    copy_chunk<Columns, chunk_depth>(memory.weights[c % places], weights.fc + from, cols, cols, cols - from);
  };
  begin_chunks<places>(chunks(cols), begin_second);
  write_sums(memory.own, hs, weights.projection_bias, cols);
  __syncthreads();
  RowThreads threads(cols, true);
  for (int row = warp; row < end; row += product_warps)
    threads.columns<whole_kept<T, Columns>, vector_of<T>>([&](At at, auto n) {
      T* const to = memory.own[row] + at.column;
      const auto rounded = load_packed<n()>(to);
      store(h + (first + row) * cols + at.column, rounded);
      auto v = widen(rounded);
      for (int e = 0; e < v.size; ++e) v[e] = activation<Activation::gelu>(v[e]);
      store(to, v);
    });
  BlockTile<Columns, Strips> ys;
  each_chunk<places>(chunks(cols), begin_second, [&](int c) {
    add_dots(ys, memory.own[0] + c * chunk_depth, Columns + vector_of<T>, cols, memory.weights[c % places]);
  });
  __syncthreads();
  write_sums(memory.own, ys, weights.fc_bias, cols);
  __syncthreads();
  for (int row = warp; row < end; row += product_warps)
    tail.template apply<whole_kept<T, Columns>>(threads, memory.own[row], first + row);
}

template <class T, int Columns>
struct WholeBackwardMemory {
  static constexpr int rows = BlockTile<Columns, backward_strips>::rows;
  union {
    alignas(16) PaddedRow<T, Columns> weights[stages<Columns>][chunk_depth];
    float sums[product_warps][3 * Columns];  // ColumnSums'
  };
  alignas(16) PaddedRow<T, Columns> own[rows];  // dy, dg
};

template <class T, int Columns>
__global__ void __launch_bounds__(product_threads, 2)
    whole_backward(TailGradient<T> tail, T* dy, T* activated, float* tail_partial, float* h_partial, const T* h,
                   const T* fc, std::int64_t rows, int cols) {
  using Memory = WholeBackwardMemory<T, Columns>;
  auto& memory = shared_as<Memory>();
  constexpr int block_rows = Memory::rows, places = stages<Columns>, kept_columns = whole_kept<T, Columns>;
  const std::int64_t first = std::int64_t{blockIdx.x} * block_rows;
  const int end = static_cast<int>(std::min<std::int64_t>(block_rows, rows - first));
  const int warp = static_cast<int>(threadIdx.y), lane = static_cast<int>(threadIdx.x);
  RowThreads threads(cols, true);

  ColumnSums<T, kept_columns, 3> tail_sums(threads, tail_partial);
  for (int row = warp; row < end; row += product_warps) {
    tail.template apply<kept_columns>(threads, tail_sums, first + row, [&](At at, const auto& g) {
      const auto rounded = round<T>(g);
      store(dy + (first + row) * cols + at.column, rounded);
      store(memory.own[row] + at.column, rounded);
    });
    if (const int past = cols + vector_of<T> * lane; past < chunks(cols) * chunk_depth)  // the last chunk's
      store(memory.own[row] + past, Packed<T, vector_of<T>>{});
  }
  tail_sums.finish();
  __syncthreads();

  const auto begin = [&](int c) {
    const int from = c * chunk_depth;
    copy_chunk<chunk_depth, Columns>(memory.weights[c % places], fc + std::int64_t{from} * cols, cols, cols - from,
                                     cols);
  };
  BlockTile<Columns, backward_strips> dgs;
  begin_chunks<places>(chunks(cols), begin);
  each_chunk<places>(chunks(cols), begin, [&](int c) {
    add_rows(dgs, memory.own[0] + c * chunk_depth, Columns + vector_of<T>, cols, memory.weights[c % places]);
  });
  __syncthreads();
  write_sums(memory.own, dgs, static_cast<const T*>(nullptr), cols);
  __syncthreads();

  ColumnSums<T, kept_columns, 1> h_sums(threads, h_partial);
  for (int row = warp; row < end; row += product_warps) {
    const std::int64_t at_row = (first + row) * cols;
    threads.each(
        [&](At at, auto d, auto g, auto x) {
          for (int e = 0; e < d.size; ++e) {
            d[e] += g[e] * activation_derivative<Activation::gelu>(x[e]);
            h_sums.add(0, at, e, d[e]);
            x[e] = activation<Activation::gelu>(x[e]);
          }
          store(tail.dz + at_row + at.column, d);
          store(activated + at_row + at.column, x);
        },
        threads.template read<kept_columns>(static_cast<const T*>(tail.dz + at_row)),
        threads.template read<kept_columns>(static_cast<const T*>(memory.own[row])),
        threads.template read<kept_columns>(h + at_row));
  }
  h_sums.finish();
}

static_assert(head_blocks(1000) == column_sum_blocks(1000) && head_blocks(100000) == column_sum_blocks(100000));

}  // namespace

template <class T>
void head_tail_forward(T* out, T* y, float* mean, float* rstd, const T* h, const float* weight, const float* bias,
                       float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t cols, Stream stream) {
  const Tail<T> tail{out, y, mean, rstd, h, weight, bias, eps, Dropped(mask), mask.p > 0};
  launch(name, row_grid<T, kept>(rows, cols), stream, tail_forward<T>, tail, rows, cols,
         in_vectors<T>(cols, out, y, h, weight, bias));
}

template <class T>
void head_tail_backward(T* dz, T* dy, float* partial, const T* dout, const T* z, const float* mean, const float* rstd,
                        const float* weight, const DropoutMask& mask, std::int64_t rows, std::int64_t cols,
                        Stream stream) {
  if (cols == 0) return;
  const TailGradient<T> tail{dz, dout, z, mean, rstd, weight, Dropped(mask), mask.p > 0};
  launch(name, column_sum_grid<T, kept_backward>(rows, cols, 3), stream, tail_backward<T>, tail, dy, partial, rows,
         cols, in_vectors<T>(cols, dz, dy, dout, z, weight));
}

template <class T>
void head_gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols,
                        Stream stream) {
  if (cols == 0) return;
  launch(name, column_sum_grid<T, kept_backward>(rows, cols, 1), stream, gelu_backward<T>, dh, partial, dg, h, rows,
         cols, in_vectors<T>(cols, dh, dg, h));
}

namespace {

template <class T, int Columns, int Strips>
void launch_whole_forward(const Tail<T>& tail, T* h, const T* x, const HeadWeights<T>& weights, std::int64_t rows,
                          std::int64_t in, std::int64_t cols, Stream stream) {
  constexpr std::int64_t block_rows = BlockTile<Columns, Strips>::rows;
  launch(name,
         {(rows + block_rows - 1) / block_rows, {32, product_warps}, sizeof(WholeForwardMemory<T, Columns, Strips>)},
         stream, whole_forward<T, Columns, Strips>, tail, h, x, weights, rows, in, cols);
}

template <class T, int Columns>
void choose_whole_forward(const Tail<T>& tail, T* h, const T* x, const HeadWeights<T>& weights, std::int64_t rows,
                          std::int64_t in, std::int64_t cols, Stream stream) {
  // 40 tall blocks take as long as the weights of 160 low ones take to come from the level-2 cache of a large GPU
  const bool many = rows >= 40 * BlockTile<Columns, tall>::rows;
  if (many && sizeof(WholeForwardMemory<T, Columns, tall>) <= most_shared_bytes(name))
    launch_whole_forward<T, Columns, tall>(tail, h, x, weights, rows, in, cols, stream);
  else
    launch_whole_forward<T, Columns, low>(tail, h, x, weights, rows, in, cols, stream);
}

}  // namespace

template <class T>
void whole_head_forward(T* out, T* h, T* z, float* mean, float* rstd, const T* x, const HeadWeights<T>& weights,
                        float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t in, std::int64_t cols,
                        Stream stream) {
  const Tail<T> tail{out, z, mean, rstd, h, weights.norm, weights.norm_bias, eps, Dropped(mask), mask.p > 0};
  if (cols <= 256)
    choose_whole_forward<T, 256>(tail, h, x, weights, rows, in, cols, stream);
  else
    choose_whole_forward<T, 512>(tail, h, x, weights, rows, in, cols, stream);
}

template <class T>
void whole_head_backward(T* dh, T* dy, T* activated, float* tail_partial, float* h_partial, const T* dout, const T* h,
                         const T* z, const float* mean, const float* rstd, const float* norm, const T* fc,
                         const DropoutMask& mask, std::int64_t rows, std::int64_t cols, Stream stream) {
  const TailGradient<T> tail{dh, dout, z, mean, rstd, norm, Dropped(mask), mask.p > 0};
  const auto with = [&]<int Columns>(std::integral_constant<int, Columns>) {
    static_assert(whole_head_rows(Columns) == WholeBackwardMemory<T, Columns>::rows);
    launch(name, {whole_head_blocks(rows, cols), {32, product_warps}, sizeof(WholeBackwardMemory<T, Columns>)}, stream,
           whole_backward<T, Columns>, tail, dy, activated, tail_partial, h_partial, h, fc, rows, cols);
  };
  if (cols <= 256)
    with(std::integral_constant<int, 256>());
  else
    with(std::integral_constant<int, 512>());
}

template void head_tail_forward(float*, float*, float*, float*, const float*, const float*, const float*, float,
                                const DropoutMask&, std::int64_t, std::int64_t, Stream);
template void head_tail_backward(float*, float*, float*, const float*, const float*, const float*, const float*,
                                 const float*, const DropoutMask&, std::int64_t, std::int64_t, Stream);
template void head_gelu_backward(float*, float*, const float*, const float*, std::int64_t, std::int64_t, Stream);
template void head_tail_forward(bf16*, bf16*, float*, float*, const bf16*, const float*, const float*, float,
                                const DropoutMask&, std::int64_t, std::int64_t, Stream);
template void head_tail_backward(bf16*, bf16*, float*, const bf16*, const bf16*, const float*, const float*,
                                 const float*, const DropoutMask&, std::int64_t, std::int64_t, Stream);
template void head_gelu_backward(bf16*, float*, const bf16*, const bf16*, std::int64_t, std::int64_t, Stream);
template void head_tail_forward(f16*, f16*, float*, float*, const f16*, const float*, const float*, float,
                                const DropoutMask&, std::int64_t, std::int64_t, Stream);
template void head_tail_backward(f16*, f16*, float*, const f16*, const f16*, const float*, const float*, const float*,
                                 const DropoutMask&, std::int64_t, std::int64_t, Stream);
template void head_gelu_backward(f16*, float*, const f16*, const f16*, std::int64_t, std::int64_t, Stream);

template void whole_head_forward(bf16*, bf16*, bf16*, float*, float*, const bf16*, const HeadWeights<bf16>&, float,
                                 const DropoutMask&, std::int64_t, std::int64_t, std::int64_t, Stream);
template void whole_head_backward(bf16*, bf16*, bf16*, float*, float*, const bf16*, const bf16*, const bf16*,
                                  const float*, const float*, const float*, const bf16*, const DropoutMask&,
                                  std::int64_t, std::int64_t, Stream);
template void whole_head_forward(f16*, f16*, f16*, float*, float*, const f16*, const HeadWeights<f16>&, float,
                                 const DropoutMask&, std::int64_t, std::int64_t, std::int64_t, Stream);
template void whole_head_backward(f16*, f16*, f16*, float*, float*, const f16*, const f16*, const f16*, const float*,
                                  const float*, const float*, const f16*, const DropoutMask&, std::int64_t,
                                  std::int64_t, Stream);

}  // namespace clip::kernels::cuda
