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
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  const float scale = 1.0f / static_cast<float>(cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = x + r * cols;
      const float m = scale * sum_of(
                                  cols, [](f32x16 v) __attribute__((always_inline)) { return v; }, row);
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

/// Adds dy n and dy of `rows` rows, at most four, to `dw` and `db`: the sums are loaded and stored once for all.
template <class T>
CLIP_INLINE void add_parameter_gradients(float* dw, float* db, const T* dy, const T* x, const float* mean,
                                         const float* rstd, std::int64_t rows, std::int64_t cols) {
  for_vectors(
      cols, [=](std::int64_t i, auto count) __attribute__((always_inline)) {
        f32x16 w = load(dw + i, count), b = load(db + i, count);
        for (std::int64_t r = 0; r < rows; ++r) {
          const f32x16 g = load(dy + r * cols + i, count);
          w += g * ((load(x + r * cols + i, count) - mean[r]) * rstd[r]);
          b += g;
        }
        store(dw + i, w, count);
        store(db + i, b, count);
      });
}

}  // namespace

template <class T>
void layer_norm_backward(T* dx, float* partial, const T* dy, const T* x, const float* mean, const float* rstd,
                         const float* weight, std::int64_t rows, std::int64_t cols) {
  constexpr std::int64_t together = 4;
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
  const float scale = 1.0f / static_cast<float>(cols);
  const std::int64_t blocks = layer_norm_blocks(rows);
  parallel_rows(blocks, rows / blocks * cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      float* dw = partial + block * 2 * cols;
      float* db = dw + cols;
      std::fill(dw, dw + 2 * cols, 0.0f);
      const std::int64_t last = rows * (block + 1) / blocks;
      for (std::int64_t first = rows * block / blocks; first < last; first += together) {
        const std::int64_t count = std::min(together, last - first);
        for (std::int64_t r = first; r < first + count; ++r) {
          const T *g = dy + r * cols, *row = x + r * cols;
          const float m = mean[r], s = rstd[r];
          const float mean_g =
              scale * sum_of(
                          cols, [](f32x16 gv, f32x16 w) __attribute__((always_inline)) { return gv * w; }, g, weight);
          const float mean_gn = scale * sum_of(
                                            cols,
                                            [=](f32x16 gv, f32x16 v, f32x16 w)
                                                __attribute__((always_inline)) { return gv * w * ((v - m) * s); },
                                            g, row, weight);
          map(
              dx + r * cols, 0, cols, streamed,
              [=](f32x16 gv, f32x16 v, f32x16 w)
                  __attribute__((always_inline)) { return s * (gv * w - mean_g - (v - m) * s * mean_gn); },
              g, row, weight);
        }
        const std::int64_t at = first * cols;
        if (count == together)
          add_parameter_gradients(dw, db, dy + at, x + at, mean + first, rstd + first, together, cols);
        else
          add_parameter_gradients(dw, db, dy + at, x + at, mean + first, rstd + first, count, cols);
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
