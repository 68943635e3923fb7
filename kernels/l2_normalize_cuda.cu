// One warp has a row, or several where it is wide (kernels/device/row.cuh), and keeps it in registers between the sum
// of squares and the division, so that each element is read once.
#include <algorithm>
#include <cmath>

#include "kernels/device/row.cuh"
#include "kernels/l2_normalize.hpp"

namespace clip::kernels::cuda {
namespace {

constexpr int kept = 4;  // vectors of a row in each thread

/// One over the length, at least eps; NaN where the length is, which fmaxf would replace by eps.
__device__ float scale_of(float length, float eps) { return 1.0f / std::max(length, eps); }

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    forward(T* y, float* norm, const T* x, float eps, std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto in = threads.template read<kept>(x + row * cols);
  float squares = 0;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) squares += v[e] * v[e];
      },
      in);
  const float length = sqrtf(threads.sum(squares)), scale = scale_of(length, eps);
  T* const out = y + row * cols;
  threads.each(
      [&](At at, auto v) {
        for (int e = 0; e < v.size; ++e) v[e] *= scale;
        store(out + at.column, v);
      },
      in);
  if (threads.thread == 0) norm[row] = length;
}

template <class T>
__global__ void __launch_bounds__(most_row_threads)
    backward(T* dx, const T* dy, const T* x, const float* norm, float eps, std::int64_t rows, std::int64_t cols,
             bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto dys = threads.template read<kept>(dy + row * cols);
  const auto xs = threads.template read<kept>(x + row * cols);
  float dot = 0;
  threads.each(
      [&](At, auto g, auto v) {
        for (int e = 0; e < g.size; ++e) dot += g[e] * v[e];
      },
      dys, xs);
  dot = threads.sum(dot);
  const float scale = scale_of(norm[row], eps), along = norm[row] >= eps ? dot * scale * scale : 0.0f;
  T* const out = dx + row * cols;
  threads.each(
      [&](At at, auto g, auto v) {
        for (int e = 0; e < g.size; ++e) g[e] = (g[e] - v[e] * along) * scale;
        store(out + at.column, g);
      },
      dys, xs);
}

}  // namespace

template <class T>
void l2_normalize_forward(T* y, float* norm, const T* x, float eps, std::int64_t rows, std::int64_t cols,
                          Stream stream) {
  launch("l2_normalize", row_grid<T, kept>(rows, cols), stream, forward<T>, y, norm, x, eps, rows, cols,
         in_vectors<T>(cols, y, x));
}

template <class T>
void l2_normalize_backward(T* dx, const T* dy, const T* x, const float* norm, float eps, std::int64_t rows,
                           std::int64_t cols, Stream stream) {
  launch("l2_normalize", row_grid<T, kept>(rows, cols), stream, backward<T>, dx, dy, x, norm, eps, rows, cols,
         in_vectors<T>(cols, dx, dy, x));
}

template void l2_normalize_forward(float*, float*, const float*, float, std::int64_t, std::int64_t, Stream);
template void l2_normalize_forward(bf16*, float*, const bf16*, float, std::int64_t, std::int64_t, Stream);
template void l2_normalize_forward(f16*, float*, const f16*, float, std::int64_t, std::int64_t, Stream);
template void l2_normalize_backward(float*, const float*, const float*, const float*, float, std::int64_t, std::int64_t,
                                    Stream);
template void l2_normalize_backward(bf16*, const bf16*, const bf16*, const float*, float, std::int64_t, std::int64_t,
                                    Stream);
template void l2_normalize_backward(f16*, const f16*, const f16*, const float*, float, std::int64_t, std::int64_t,
                                    Stream);

}  // namespace clip::kernels::cuda
