// Threads share the rows. A row is read from memory once, by the pass for its sum; the second finds it in the cache.
#include "kernels/l2_normalize.hpp"

#include <cmath>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
template <class T>
void l2_normalize_forward(T* y, float* norm, const T* x, float eps, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* in = x + r * cols;
      norm[r] = std::sqrt(dot(in, in, cols));
      const float scale = 1.0f / std::max(norm[r], eps);
      map(
          y + r * cols, 0, cols, streamed, [=](f32x16 v) __attribute__((always_inline)) { return v * scale; }, in);
    }
  });
}

template <class T>
void l2_normalize_backward(T* dx, const T* dy, const T* x, const float* norm, float eps, std::int64_t rows,
                           std::int64_t cols) {
  const bool streamed = should_stream<T>(rows * cols);
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T *g = dy + r * cols, *in = x + r * cols;
      const float scale = 1.0f / std::max(norm[r], eps);
      const float along = norm[r] >= eps ? dot(in, g, cols) * scale * scale : 0.0f;
      map(
          dx + r * cols, 0, cols,
          streamed, [=](f32x16 gv, f32x16 v) __attribute__((always_inline)) { return (gv - v * along) * scale; }, g,
          in);
    }
  });
}

template void l2_normalize_forward(float*, float*, const float*, float, std::int64_t, std::int64_t);
template void l2_normalize_forward(bf16*, float*, const bf16*, float, std::int64_t, std::int64_t);
template void l2_normalize_backward(float*, const float*, const float*, const float*, float, std::int64_t,
                                    std::int64_t);
template void l2_normalize_backward(bf16*, const bf16*, const bf16*, const float*, float, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
