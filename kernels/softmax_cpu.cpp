// Threads share the rows. A row is read from memory once, by the pass for its maximum; the passes for the sum and the
// result find it in the cache.
#include "kernels/softmax.hpp"

#include <cmath>

#include "kernels/cpu/row_statistics.hpp"

namespace clip::kernels::cpu {

template <class T>
void softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const RowStatistics row = row_statistics(x + r * cols, cols);
      const float top = row.max, scale = 1.0f / row.sum;
      map(
          y + r * cols, 0, cols,
          streamed, [=](f32x16 v) __attribute__((always_inline)) { return exp(v - top) * scale; }, x + r * cols);
    }
  });
}

template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *g = dy + r * cols, *p = y + r * cols;
      f32x16 s = {};
      std::int64_t i = 0;
      for (; i + lanes <= cols; i += lanes) s += load(g + i) * load(p + i);
      if (i < cols) s += load(g + i, cols - i) * load(p + i, cols - i);
      const float dot = sum(s);
      map(
          dx + r * cols, 0, cols,
          streamed, [=](f32x16 gv, f32x16 pv) __attribute__((always_inline)) { return pv * (gv - dot); }, g, p);
    }
  });
}

template <class T>
void log_softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const RowStatistics row = row_statistics(x + r * cols, cols);
      const float top = row.max, log_sum = std::log(row.sum);
      map(
          y + r * cols, 0, cols, streamed, [=](f32x16 v) __attribute__((always_inline)) { return (v - top) - log_sum; },
          x + r * cols);
    }
  });
}

template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *g = dy + r * cols, *ly = y + r * cols;
      f32x16 s = {};
      std::int64_t i = 0;
      for (; i + lanes <= cols; i += lanes) s += load(g + i);
      if (i < cols) s += load(g + i, cols - i);
      const float total = sum(s);
      map(
          dx + r * cols, 0, cols,
          streamed, [=](f32x16 gv, f32x16 yv) __attribute__((always_inline)) { return gv - exp(yv) * total; }, g, ly);
    }
  });
}

template void softmax_forward(float*, const float*, std::int64_t, std::int64_t);
template void softmax_forward(bf16*, const bf16*, std::int64_t, std::int64_t);
template void softmax_backward(float*, const float*, const float*, std::int64_t, std::int64_t);
template void softmax_backward(bf16*, const bf16*, const bf16*, std::int64_t, std::int64_t);
template void log_softmax_forward(float*, const float*, std::int64_t, std::int64_t);
template void log_softmax_forward(bf16*, const bf16*, std::int64_t, std::int64_t);
template void log_softmax_backward(float*, const float*, const float*, std::int64_t, std::int64_t);
template void log_softmax_backward(bf16*, const bf16*, const bf16*, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
