// A projection head as one kernel forward, and one backward but for the gradients of weights and of x, which are matrix
// products.
//   forward    A block owns some rows and all their columns (kernels/device/block_product.cuh). h = x W1^T + b1 stays
//              in its registers while x and W1 pass through shared memory; rounded, it takes the place of x there.
//              From there h goes to memory and GELU of it is left in its place, the left factor of
//              y = GELU(h) W2^T + b2, which in turn takes its place. Then each warp does the tail of some of the
//              rows; h comes back from the caches. GELU(h) is not kept: backward makes it again.
//   backward   Each warp does the tail's gradient of some rows: dy goes to memory, for W2's gradient, and stays in
//              shared memory, dz waits in dh's place. dg = dy W2 takes dy's place; then, by rows again,
//              dh = dz + dg GELU'(h), and GELU(h) for W2's gradient. Sums over rows are one for each block of
//              threads, in a fixed order; there are no atomics.
//
// Memory, bytes a row of 16 bits, E columns in and D out; with D = 256:               E = 2048      768
//   forward that is recorded            2E + 6D   x; h, z, out                            5,632    3,072
//   forward that is not                 2E + 2D   x; out, where h was                     4,608    2,048
//   backward                           12D        dout, z, h; dy, dh, GELU(h)             3,072    3,072
//   products of W2's and W1's gradient  2E + 6D   dy, GELU(h); dh, x                      5,632    3,072
//   all of it when trained              4E + 24D                                         14,336    9,216
//   the same as products with kernels between, 18D forward and 20D backward:            19,456   14,336
// and the blocks' sums: 16D bytes for 64 rows, 32 where D > 256.
//
// Work: 2D (E + D) multiplications and additions a row forward and 2D D backward, besides the products. A warp's tile
// of 64 by 64 does 32 operations for each byte it reads of shared memory. Weights come from the level-2 cache for every
// block, 2D (E + D) bytes forward and 2D D backward: with 128 rows of 256 columns that is, for large E, 85 operations a
// byte, with 64 rows of 512 columns 57. Therefore blocks are tall where there are enough of them; low ones share out
// few rows, and fit where a block can have 99 KiB of shared memory.
#include "kernels/device/activation.cuh"
#include "kernels/device/block_product.cuh"
#include "kernels/device/head_tail.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr const char* name = "projection_head";

/// How many chunks of the depth have places in shared memory, where there are up to so many columns.
template <int Columns>
constexpr int stages = Columns <= 256 ? 3 : 2;
/// Vectors of a row in each thread of a warp.
template <class T, int Columns>
constexpr int kept = Columns / (32 * vector_of<T>);
/// Strips of rows of a warp.
constexpr int tall = 4, low = 1, backward_strips = 2;

constexpr int chunks(std::int64_t depth) { return static_cast<int>((depth + chunk_depth - 1) / chunk_depth); }

template <class T, int Columns, int Strips>
struct ForwardMemory {
  static constexpr int rows = BlockTile<Columns, Strips>::rows;
  alignas(16) PaddedRow<T, chunk_depth> weights[stages<Columns>][Columns];
  union {
    PaddedRow<T, chunk_depth> x[stages<Columns>][rows];
    PaddedRow<T, Columns> own[rows];  // h, GELU(h), y
  };
};

template <class T, int Columns, int Strips>
__global__ void __launch_bounds__(product_threads, Strips == tall ? 1 : 2)
    forward(Tail<T> tail, T* h, const T* x, HeadWeights<T> weights, std::int64_t rows, int in, int cols) {
  using Memory = ForwardMemory<T, Columns, Strips>;
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
    threads.columns<kept<T, Columns>, vector_of<T>>([&](At at, auto n) {
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
    tail.template apply<kept<T, Columns>>(threads, memory.own[row], first + row);
}

template <class T, int Columns>
struct BackwardMemory {
  static constexpr int rows = BlockTile<Columns, backward_strips>::rows;
  union {
    alignas(16) PaddedRow<T, Columns> weights[stages<Columns>][chunk_depth];
    float sums[product_warps][3 * Columns];  // ColumnSums'
  };
  alignas(16) PaddedRow<T, Columns> own[rows];  // dy, dg
};

template <class T, int Columns>
__global__ void __launch_bounds__(product_threads, 2)
    backward(TailGradient<T> tail, T* dy, T* activated, float* tail_partial, float* h_partial, const T* h, const T* fc,
             std::int64_t rows, int cols) {
  using Memory = BackwardMemory<T, Columns>;
  auto& memory = shared_as<Memory>();
  constexpr int block_rows = Memory::rows, places = stages<Columns>, kept_columns = kept<T, Columns>;
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
    const T* const dg = memory.own[row];
    gelu_gradient<kept_columns>(threads, h_sums, tail.dz + at_row, dg, h + at_row, [&](At at, auto x) {
      for (int e = 0; e < x.size; ++e) x[e] = activation<Activation::gelu>(x[e]);
      store(activated + at_row + at.column, x);
    });
  }
  h_sums.finish();
}

/// f.operator()<Columns>() with the width of a block's tiles for so many columns.
template <class F>
void dispatch_columns(std::int64_t cols, const F& f) {
  cols <= 256 ? f.template operator()<256>() : f.template operator()<512>();
}

constexpr std::size_t least_shared_bytes = 99 * 1024;  // of the GPUs since sm_80

}  // namespace

template <class T>
void whole_head_forward(T* out, T* h, T* z, float* mean, float* rstd, const T* x, const HeadWeights<T>& weights,
                        float eps, const DropoutMask& mask, std::int64_t rows, std::int64_t in, std::int64_t cols,
                        Stream stream) {
  const Tail<T> tail{out, z, mean, rstd, h, weights.norm, weights.norm_bias, eps, Dropped(mask), mask.p > 0};
  dispatch_columns(cols, [&]<int Columns>() {
    const auto start = [&]<int Strips>() {
      constexpr std::int64_t block_rows = BlockTile<Columns, Strips>::rows;
      constexpr std::size_t bytes = sizeof(ForwardMemory<T, Columns, Strips>);
      launch(name, {(rows + block_rows - 1) / block_rows, {32, product_warps}, bytes}, stream,
             forward<T, Columns, Strips>, tail, h, x, weights, rows, in, cols);
    };
    static_assert(sizeof(ForwardMemory<T, Columns, low>) <= least_shared_bytes);
    const bool enough = rows >= 40 * BlockTile<Columns, tall>::rows;  // for a third of a large GPU; not yet measured
    if (enough && sizeof(ForwardMemory<T, Columns, tall>) <= most_shared_bytes(name))
      start.template operator()<tall>();
    else
      start.template operator()<low>();
  });
}

template <class T>
void whole_head_backward(T* dh, T* dy, T* activated, float* tail_partial, float* h_partial, const T* dout, const T* h,
                         const T* z, const float* mean, const float* rstd, const float* norm, const T* fc,
                         const DropoutMask& mask, std::int64_t rows, std::int64_t cols, Stream stream) {
  const TailGradient<T> tail{dh, dout, z, mean, rstd, norm, Dropped(mask), mask.p > 0};
  dispatch_columns(cols, [&]<int Columns>() {
    using Memory = BackwardMemory<T, Columns>;
    static_assert(whole_head_rows(Columns) == Memory::rows && sizeof(Memory) <= least_shared_bytes);
    launch(name, {whole_head_blocks(rows, cols), {32, product_warps}, sizeof(Memory)}, stream, backward<T, Columns>,
           tail, dy, activated, tail_partial, h_partial, h, fc, rows, cols);
  });
}

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
