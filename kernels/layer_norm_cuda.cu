// One warp has a row, or several where it is wide (kernels/device/row.cuh); mean, squared deviations and result are
// passes over registers, so x is read once. Backward reads dy and x once: a thread has the same columns of every row
// its warps take, so it sums dw and db of them in registers. The rows of a block of threads are fixed by their number,
// sums are made in a fixed order, and there are no atomics: results are the same from run to run, and on every GPU.
// Memory, bf16: 4 bytes an element forward, 6 backward, and 8 cols bytes for each block's partial sums.
#include "kernels/device/layer_norm.cuh"
#include "kernels/layer_norm.hpp"

namespace clip::kernels::cuda {
namespace {

constexpr int kept = 4;           // vectors of a row in each thread, forward
constexpr int kept_backward = 2;  // there each also has two sums of its columns

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
            std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto in = threads.template read<kept>(x + row * cols);
  float sum = 0;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) sum += v[e];
      },
      in);
  const float m = threads.sum(sum) / static_cast<float>(cols);
  const float s = normalize_row(threads, y + row * cols, in, m, weight, bias, eps);
  if (threads.thread == 0) {
    mean[row] = m;
    rstd[row] = s;
  }
}

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd, const float* weight,
             std::int64_t rows, std::int64_t cols, bool vectors) {
  RowThreads threads(cols, vectors);
  ColumnSums<T, kept_backward, 2> sums(threads, partial);
  const RowRange range(rows);
  for (std::int64_t row = range.first; row < range.end; row += range.step) {
    const auto dys = threads.template read<kept_backward>(dy + row * cols);
    const auto xs = threads.template read<kept_backward>(x + row * cols);
    const RowGradient gradient(threads, dys, xs, mean[row], rstd[row], weight);
    threads.each(
        [&](At at, auto d, auto v) {
          gradient.apply(sums, at, d, v);
          store(dx + row * cols + at.column, d);
        },
        dys, xs);
  }
  sums.finish();
}

}  // namespace

template <class T>
void layer_norm_forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
                        std::int64_t rows, std::int64_t cols, Stream stream) {
  launch("layer_norm", row_grid<T, kept>(rows, cols), stream, forward<T>, y, mean, rstd, x, weight, bias, eps, rows,
         cols, in_vectors<T>(cols, y, x, weight, bias));
}

template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols, Stream stream) {
  if (cols == 0) return;
  launch("layer_norm", column_sum_grid<T, kept_backward>(rows, cols, 2), stream, backward<T>, dx, partial, dy, x, mean,
         rstd, weight, rows, cols, in_vectors<T>(cols, dx, dy, x, weight));
}

template void layer_norm_forward(float*, float*, float*, const float*, const float*, const float*, float, std::int64_t,
                                 std::int64_t, Stream);
template void layer_norm_forward(bf16*, float*, float*, const bf16*, const float*, const float*, float, std::int64_t,
                                 std::int64_t, Stream);
template void layer_norm_forward(f16*, float*, float*, const f16*, const float*, const float*, float, std::int64_t,
                                 std::int64_t, Stream);
template void layer_norm_backward(float*, float*, const float*, const float*, const float*, const float*, const float*,
                                  std::int64_t, std::int64_t, Stream);
template void layer_norm_backward(bf16*, float*, const bf16*, const bf16*, const float*, const float*, const float*,
                                  std::int64_t, std::int64_t, Stream);
template void layer_norm_backward(f16*, float*, const f16*, const f16*, const float*, const float*, const float*,
                                  std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
