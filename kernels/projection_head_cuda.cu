// One warp has a row, or several where it is wide (kernels/device/row.cuh). Forward, z = dropout(y) + h stays in
// registers between the passes for mean, squared deviations and result. Backward a thread has the same columns of every
// row of its warps and sums the gradients of scale, shift and bias of them in registers (ColumnSums); dropout's mask is
// computed again. No atomics: results are the same from run to run, and on every GPU.
// Memory, bf16, bytes an element: forward 4 read, 4 written, of which z (in place of y) is for backward alone;
// backward 4 read and 4 written; GELU's backward 6 read and 2 written.
#include "kernels/device/head_tail.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr const char* name = "projection_head";
constexpr int kept = 4;           // vectors of a row in each thread, forward
constexpr int kept_backward = 2;  // there each also has sums of its columns

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    tail_forward(Tail<T> tail, std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  tail.template apply<kept>(threads, tail.z + row * cols, row);
}

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    tail_backward(TailGradient<T> tail, T* dy, float* partial, std::int64_t rows, std::int64_t cols, bool vectors) {
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
__global__ void __launch_bounds__(most_row_threads)
    gelu_backward(T* dh, float* partial, const T* dg, const T* h, std::int64_t rows, std::int64_t cols, bool vectors) {
  RowThreads threads(cols, vectors);
  ColumnSums<T, kept_backward, 1> sums(threads, partial);
  const RowRange range(rows);
  for (std::int64_t row = range.first; row < range.end; row += range.step)
    gelu_gradient<kept_backward>(threads, sums, dh + row * cols, dg + row * cols, h + row * cols,
                                 [](At, const auto&) {});
  sums.finish();
}

constexpr int total_warps = 8;
struct TotalSums {
  float each[total_warps][32];
};

/// A block has 32 columns of all four sums; each warp adds every eighth block's, then one adds the warps'.
template <class T>
__global__ void __launch_bounds__(32 * total_warps)
    add_up(HeadTotals<T> totals, const float* tail_partial, const float* h_partial, std::int64_t blocks,
           std::int64_t cols) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x, which = column / cols, c = column % cols;
  const float* const partial = which < 3 ? tail_partial + column : h_partial + c;
  float sum = 0;
  if (which < 4)
    for (std::int64_t block = threadIdx.y; block < blocks; block += total_warps)
      sum += partial[block * (which < 3 ? 3 * cols : cols)];
  auto& sums = shared_as<TotalSums>().each;
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || which >= 4) return;
  for (int warp = 1; warp < total_warps; ++warp) sum += sums[warp][threadIdx.x];
  if (which < 2)
    (which == 0 ? totals.norm : totals.norm_bias)[c] = sum;
  else
    (which == 2 ? totals.fc_bias : totals.projection_bias)[c] = T(sum);
}

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

template <class T>
void head_totals(const HeadTotals<T>& totals, const float* tail_partial, const float* h_partial, std::int64_t blocks,
                 std::int64_t cols, Stream stream) {
  launch(name, {(4 * cols + 31) / 32, {32, total_warps}, sizeof(TotalSums)}, stream, add_up<T>, totals, tail_partial,
         h_partial, blocks, cols);
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

template void head_totals(const HeadTotals<float>&, const float*, const float*, std::int64_t, std::int64_t, Stream);
template void head_totals(const HeadTotals<bf16>&, const float*, const float*, std::int64_t, std::int64_t, Stream);
template void head_totals(const HeadTotals<f16>&, const float*, const float*, std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
