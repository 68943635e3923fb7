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

template <class T>
CLIP_INLINE float sum_row(const T* x, std::int64_t cols) {
  return sum_of(
      cols, [](f32x16 v) __attribute__((always_inline)) { return v; }, x);
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
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
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
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  const float scale = static_cast<float>(*dmean) / static_cast<float>(rows);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float offset = lse[r], total = sum_row(t + r * cols, cols);
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
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
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

#define CLIP_INSTANTIATE(T, I)                                                                             \
  template void cross_entropy_forward(T*, float*, const T*, const I*, std::int64_t, std::int64_t, float*); \
  template void cross_entropy_backward(T*, const T*, const T*, const I*, const float*, std::int64_t, std::int64_t);
CLIP_INSTANTIATE(float, std::int32_t)
CLIP_INSTANTIATE(float, std::int64_t)
CLIP_INSTANTIATE(bf16, std::int32_t)
CLIP_INSTANTIATE(bf16, std::int64_t)
#undef CLIP_INSTANTIATE
#define CLIP_INSTANTIATE(T)                                                                                     \
  template void soft_cross_entropy_forward(T*, float*, const T*, const T*, std::int64_t, std::int64_t, float*); \
  template void soft_cross_entropy_backward(T*, const T*, const T*, const T*, const float*, std::int64_t,       \
                                            std::int64_t);                                                      \
  template void soft_cross_entropy_targets_backward(T*, const T*, const T*, const float*, std::int64_t, std::int64_t);
CLIP_INSTANTIATE(float)
CLIP_INSTANTIATE(bf16)
#undef CLIP_INSTANTIATE

}  // namespace clip::kernels::cpu
