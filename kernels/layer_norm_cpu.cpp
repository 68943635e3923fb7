// A row is read from memory once; the passes after the first find it in the cache. The variance is the mean of squared
// deviations, not E[x^2] - mean^2, which cancels when the mean is large.
#include "kernels/layer_norm.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {

template <class T>
void layer_norm_forward(T* y, float* mean, float* rstd, const T* x, const float* weight, const float* bias, float eps,
                        std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  const float scale = 1.0f / static_cast<float>(cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = x + r * cols;
      const float m = scale * sum_of(
                                  cols, [](f32x16 v) __attribute__((always_inline)) { return v; }, row);
      prefetch_next(row, cols);
      const float variance =
          scale * sum_of(
                      cols, [=](f32x16 v) __attribute__((always_inline)) { return (v - m) * (v - m); }, row);
      const float s = 1.0f / std::sqrt(variance + eps);
      map(
          y + r * cols, 0, cols,
          streamed, [=](f32x16 v, f32x16 w, f32x16 b) __attribute__((always_inline)) { return (v - m) * s * w + b; },
          row, weight, bias);
      mean[r] = m;
      rstd[r] = s;
    }
  });
}

namespace {

struct Means {
  float g, gn;
};

/// Means of g = dy w and of g n, for one row.
template <class T>
CLIP_INLINE Means row_means(const T* dy, const T* x, const float* weight, float mean, float rstd, std::int64_t cols) {
  f32x16 g = {}, gn = {};
  for_vectors(
      cols, [&](std::int64_t i, auto count) __attribute__((always_inline)) {
        const f32x16 v = load(dy + i, count) * load(weight + i, count);
        g += v;
        gn += v * (load(x + i, count) - mean);
      });
  const float scale = 1.0f / static_cast<float>(cols);
  return {sum(g) * scale, sum(gn) * scale * rstd};
}

}  // namespace

template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  const std::int64_t blocks = column_sum_blocks(rows);
  parallel_rows(blocks, rows / blocks * cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      float *dw = partial + block * 2 * cols, *db = dw + cols;
      std::fill(dw, dw + 2 * cols, 0.0f);
      for (std::int64_t r = rows * block / blocks; r < rows * (block + 1) / blocks; ++r) {
        const T *g = dy + r * cols, *in = x + r * cols;
        T* out = dx + r * cols;
        const float m = mean[r], s = rstd[r];
        const Means means = row_means(g, in, weight, m, s, cols);
        const bool past_caches = streamed && can_stream(out);
        for_vectors(
            cols, [=](std::int64_t i, auto count) __attribute__((always_inline)) {
              const f32x16 gradient = load(g + i, count), n = (load(in + i, count) - m) * s;
              store(dw + i, load(dw + i, count) + gradient * n, count);
              store(db + i, load(db + i, count) + gradient, count);
              put(out + i, s * (gradient * load(weight + i, count) - means.g - n * means.gn), past_caches, count);
            });
      }
    }
  });
}

template void layer_norm_forward(float*, float*, float*, const float*, const float*, const float*, float, std::int64_t,
                                 std::int64_t);
template void layer_norm_forward(bf16*, float*, float*, const bf16*, const float*, const float*, float, std::int64_t,
                                 std::int64_t);
template void layer_norm_backward(float*, float*, const float*, const float*, const float*, const float*, const float*,
                                  std::int64_t, std::int64_t);
template void layer_norm_backward(bf16*, float*, const bf16*, const bf16*, const float*, const float*, const float*,
                                  std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
