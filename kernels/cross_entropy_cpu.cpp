// Threads share the rows. A row is read from memory once, by the first pass over it; later ones find it in the cache.
// The rows' losses are added up by one thread, in double, so that the mean does not depend on the thread count.
#include "kernels/cross_entropy.hpp"

#include <cmath>

#include "kernels/cpu/row_statistics.hpp"

namespace clip::kernels::cpu {
namespace {

template <class T>
CLIP_INLINE float log_sum_exp(const T* x, std::int64_t cols) {
  const float top = row_max(x, cols);
  return top + std::log(row_sum_exp(x, cols, top));
}

template <class T>
CLIP_INLINE float soft_loss(const T* t, const T* x, std::int64_t cols, float lse) {
  return sum_of(
      cols, [=](f32x16 tv, f32x16 v) __attribute__((always_inline)) { return tv == 0.0f ? splat(0) : tv * (lse - v); },
      t, x);
}

float mean_of(const float* losses, std::int64_t rows) {
  double total = 0;
  for (std::int64_t r = 0; r < rows; ++r) total += static_cast<double>(losses[r]);
  return static_cast<float>(total / static_cast<double>(rows));
}

}  // namespace

template <class T, class I>
void cross_entropy_forward(T* mean, float* lse, const T* x, const I* classes, std::int64_t rows, std::int64_t cols,
                           float* scratch) {
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      lse[r] = log_sum_exp(x + r * cols, cols);
      scratch[r] = lse[r] - static_cast<float>(x[r * cols + classes[r]]);
    }
  });
  *mean = T(mean_of(scratch, rows));
}

template <class T>
void soft_cross_entropy_forward(T* mean, float* lse, const T* x, const T* t, std::int64_t rows, std::int64_t cols,
                                float* scratch) {
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      lse[r] = log_sum_exp(x + r * cols, cols);
      scratch[r] = soft_loss(t + r * cols, x + r * cols, cols, lse[r]);
    }
  });
  *mean = T(mean_of(scratch, rows));
}

template <class T, class I>
void cross_entropy_backward(T* dx, const T* dmean, const T* x, const I* classes, const float* lse, std::int64_t rows,
                            std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  const float scale = static_cast<float>(*dmean) / static_cast<float>(rows);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* in = x + r * cols;
      T* out = dx + r * cols;
      const float offset = lse[r];
      const std::int64_t hit = classes[r], first = hit - hit % lanes, last = std::min(first + lanes, cols);
      const auto probability = [=](f32x16 v) __attribute__((always_inline)) { return exp(v - offset) * scale; };
      map(out, 0, first, streamed, probability, in);
      f32x16 p = exp(load(in + first, last - first) - offset);
      p[hit - first] -= 1.0f;
      store(out + first, p * scale, last - first);
      map(out, last, cols, streamed, probability, in);
    }
  });
}

template <class T>
void soft_cross_entropy_backward(T* dx, const T* dmean, const T* x, const T* t, const float* lse, std::int64_t rows,
                                 std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  const float scale = static_cast<float>(*dmean) / static_cast<float>(rows);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float offset = lse[r], total = sum_of(t + r * cols, cols);
      map(
          dx + r * cols, 0, cols, streamed,
          [=](f32x16 v, f32x16 tv) __attribute__((always_inline)) { return (exp(v - offset) * total - tv) * scale; },
          x + r * cols, t + r * cols);
    }
  });
}

template <class T>
void soft_cross_entropy_targets_backward(T* dt, const T* dmean, const T* x, const float* lse, std::int64_t rows,
                                         std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  const float scale = static_cast<float>(*dmean) / static_cast<float>(rows);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float offset = lse[r];
      map(
          dt + r * cols, 0, cols,
          streamed, [=](f32x16 v) __attribute__((always_inline)) { return (offset - v) * scale; }, x + r * cols);
    }
  });
}

template void cross_entropy_forward(float*, float*, const float*, const std::int32_t*, std::int64_t, std::int64_t,
                                    float*);
template void cross_entropy_backward(float*, const float*, const float*, const std::int32_t*, const float*,
                                     std::int64_t, std::int64_t);
template void cross_entropy_forward(float*, float*, const float*, const std::int64_t*, std::int64_t, std::int64_t,
                                    float*);
template void cross_entropy_backward(float*, const float*, const float*, const std::int64_t*, const float*,
                                     std::int64_t, std::int64_t);
template void cross_entropy_forward(bf16*, float*, const bf16*, const std::int32_t*, std::int64_t, std::int64_t,
                                    float*);
template void cross_entropy_backward(bf16*, const bf16*, const bf16*, const std::int32_t*, const float*, std::int64_t,
                                     std::int64_t);
template void cross_entropy_forward(bf16*, float*, const bf16*, const std::int64_t*, std::int64_t, std::int64_t,
                                    float*);
template void cross_entropy_backward(bf16*, const bf16*, const bf16*, const std::int64_t*, const float*, std::int64_t,
                                     std::int64_t);
template void soft_cross_entropy_forward(float*, float*, const float*, const float*, std::int64_t, std::int64_t,
                                         float*);
template void soft_cross_entropy_backward(float*, const float*, const float*, const float*, const float*, std::int64_t,
                                          std::int64_t);
template void soft_cross_entropy_targets_backward(float*, const float*, const float*, const float*, std::int64_t,
                                                  std::int64_t);
template void soft_cross_entropy_forward(bf16*, float*, const bf16*, const bf16*, std::int64_t, std::int64_t, float*);
template void soft_cross_entropy_backward(bf16*, const bf16*, const bf16*, const bf16*, const float*, std::int64_t,
                                          std::int64_t);
template void soft_cross_entropy_targets_backward(bf16*, const bf16*, const bf16*, const float*, std::int64_t,
                                                  std::int64_t);

}  // namespace clip::kernels::cpu
