// Threads share the rows. A row is read from memory once, by the pass for its maximum; the pass for the terms e^(x - m)
// finds it in the cache and, where the row is not too long, keeps them for the last pass. The next row is asked for
// before that, so that memory is not idle while terms are computed: 1.0 of the copy instead of 0.7 to 0.9.
#include "kernels/softmax.hpp"

#include <cmath>

#include "kernels/cpu/row_statistics.hpp"

namespace clip::kernels::cpu {
namespace {

constexpr std::int64_t kept_terms = 4096;

}  // namespace

template <class T>
void softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols) {
  if (cols == 0) return;  // however many rows there are
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    alignas(64) float terms[kept_terms];
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = x + r * cols;
      const float top = row_max(row, cols);
      prefetch_next(row, cols);
      const auto term = [=](f32x16 v) __attribute__((always_inline)) { return exp_nonpositive(v - top); };
      if (cols <= kept_terms) {
        map(terms, 0, cols, false, term, row);
        const float scale = 1.0f / sum_of(
                                       cols, [](f32x16 v) __attribute__((always_inline)) { return v; }, terms);
        map(
            y + r * cols, 0, cols, streamed, [=](f32x16 v) __attribute__((always_inline)) { return v * scale; }, terms);
      } else {
        const float scale = 1.0f / row_sum_exp(row, cols, top);
        map(
            y + r * cols, 0, cols, streamed, [=](f32x16 v) __attribute__((always_inline)) { return term(v) * scale; },
            row);
      }
    }
  });
}

template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols) {
  if (cols == 0) return;  // however many rows there are
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *g = dy + r * cols, *p = y + r * cols;
      const float dot = sum_of(
          cols, [](f32x16 gv, f32x16 pv) __attribute__((always_inline)) { return gv * pv; }, g, p);
      map(
          dx + r * cols, 0, cols,
          streamed, [=](f32x16 gv, f32x16 pv) __attribute__((always_inline)) { return pv * (gv - dot); }, g, p);
    }
  });
}

template <class T>
void log_softmax_forward(T* y, const T* x, std::int64_t rows, std::int64_t cols) {
  if (cols == 0) return;  // however many rows there are
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float top = row_max(x + r * cols, cols);
      const auto term = [=](f32x16 v) __attribute__((always_inline)) { return exp_nonpositive(v - top); };
      const float log_sum = std::log(sum_of(cols, term, x + r * cols));
      map(
          y + r * cols, 0, cols, streamed, [=](f32x16 v) __attribute__((always_inline)) { return (v - top) - log_sum; },
          x + r * cols);
    }
  });
}

template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, std::int64_t rows, std::int64_t cols) {
  if (cols == 0) return;  // however many rows there are
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *g = dy + r * cols, *ly = y + r * cols;
      const float total = sum_of(
          cols, [](f32x16 gv) __attribute__((always_inline)) { return gv; }, g);
      map(
          dx + r * cols, 0, cols, streamed,
          [=](f32x16 gv, f32x16 yv) __attribute__((always_inline)) { return gv - exp_nonpositive(yv) * total; }, g, ly);
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
