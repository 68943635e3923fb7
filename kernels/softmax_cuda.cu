// One warp has a row, or several where it is wide (kernels/device/row.cuh). The maximum, the sum of the terms and the
// result are passes over registers; terms are computed twice, which costs less than keeping them in f32.
// Memory: each element read once and written once, forward; two reads and a write backward.
#include <cmath>

#include "kernels/device/row.cuh"
#include "kernels/softmax.hpp"

namespace clip::kernels::cuda {
namespace {

constexpr int kept = 4;  // vectors of a row in each thread

template <class T, bool Log>
__global__ void __launch_bounds__(most_row_threads)
    forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto in = threads.template read<kept>(x + row * cols);
  float top = -HUGE_VALF;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) top = fmaxf(top, v[e]);
      },
      in);
  top = threads.max(top);
  float sum = 0;
  threads.each(
      [&](At, auto v) {
        for (int e = 0; e < v.size; ++e) sum += __expf(v[e] - top);
      },
      in);
  sum = threads.sum(sum);
  const float scale = 1.0f / sum, log_sum = Log ? logf(sum) : 0.0f;
  T* const out = y + row * cols;
  threads.each(
      [&](At at, auto v) {
        for (int e = 0; e < v.size; ++e) v[e] = Log ? (v[e] - top) - log_sum : __expf(v[e] - top) * scale;
        store(out + at.column, v);
      },
      in);
}

template <class T, bool Log>
__global__ void __launch_bounds__(most_row_threads)
    backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols, bool vectors) {
  const std::int64_t row = row_of_thread();
  if (row >= rows) return;
  RowThreads threads(cols, vectors);
  const auto dys = threads.template read<kept>(dy + row * cols);
  const auto ys = threads.template read<kept>(y + row * cols);
  float sum = 0;
  threads.each(
      [&](At, auto g, auto p) {
        for (int e = 0; e < g.size; ++e) sum += Log ? g[e] : g[e] * p[e];
      },
      dys, ys);
  sum = threads.sum(sum);
  T* const out = dx + row * cols;
  threads.each(
      [&](At at, auto g, auto p) {
        for (int e = 0; e < g.size; ++e) g[e] = Log ? g[e] - __expf(p[e]) * sum : p[e] * (g[e] - sum);
        store(out + at.column, g);
      },
      dys, ys);
}

template <class T, bool Log>
void launch_forward(const char* name, T* y, const T* x, std::int64_t rows, std::int64_t cols, Stream stream) {
  if (cols == 0) return;
  launch(name, row_grid<T, kept>(rows, cols), stream, forward<T, Log>, y, x, rows, cols, in_vectors<T>(cols, y, x));
}

template <class T, bool Log>
void launch_backward(const char* name, T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols,
                     Stream stream) {
  if (cols == 0) return;
  launch(name, row_grid<T, kept>(rows, cols), stream, backward<T, Log>, dx, dy, y, rows, cols,
         in_vectors<T>(cols, dx, dy, y));
}

}  // namespace

template <class T>
void softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Stream stream) {
  launch_forward<T, false>("softmax", y, x, rows, cols, stream);
}
template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols, Stream stream) {
  launch_backward<T, false>("softmax", dx, dy, y, rows, cols, stream);
}
template <class T>
void log_softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols, Stream stream) {
  launch_forward<T, true>("log_softmax", y, x, rows, cols, stream);
}
template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols, Stream stream) {
  launch_backward<T, true>("log_softmax", dx, dy, y, rows, cols, stream);
}

template void softmax_forward(float*, const float*, std::int64_t, std::int64_t, Stream);
template void softmax_forward(bf16*, const bf16*, std::int64_t, std::int64_t, Stream);
template void softmax_forward(f16*, const f16*, std::int64_t, std::int64_t, Stream);
template void softmax_backward(float*, const float*, const float*, std::int64_t, std::int64_t, Stream);
template void softmax_backward(bf16*, const bf16*, const bf16*, std::int64_t, std::int64_t, Stream);
template void softmax_backward(f16*, const f16*, const f16*, std::int64_t, std::int64_t, Stream);
template void log_softmax_forward(float*, const float*, std::int64_t, std::int64_t, Stream);
template void log_softmax_forward(bf16*, const bf16*, std::int64_t, std::int64_t, Stream);
template void log_softmax_forward(f16*, const f16*, std::int64_t, std::int64_t, Stream);
template void log_softmax_backward(float*, const float*, const float*, std::int64_t, std::int64_t, Stream);
template void log_softmax_backward(bf16*, const bf16*, const bf16*, std::int64_t, std::int64_t, Stream);
template void log_softmax_backward(f16*, const f16*, const f16*, std::int64_t, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
