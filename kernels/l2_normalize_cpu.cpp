// Threads share the rows. A row is read from memory once, by the pass for its sum; the second finds it in the cache.
#include "kernels/l2_normalize.hpp"

#include <cmath>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

template <class T>
CLIP_INLINE float dot(const T* a, const T* b, std::int64_t n) {
  f32x16 s[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (std::int64_t j = 0; j < 4; ++j) s[j] += load(a + i + j * lanes) * load(b + i + j * lanes);
  for (; i + lanes <= n; i += lanes) s[0] += load(a + i) * load(b + i);
  if (i < n) s[1] += load(a + i, n - i) * load(b + i, n - i);
  return sum((s[0] + s[1]) + (s[2] + s[3]));
}

}  // namespace

template <class T>
void l2_normalize_forward(T* y, float* norm, const T* x, float eps, std::int64_t rows, std::int64_t cols) {
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
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
  const bool streamed = should_stream(rows * cols * static_cast<std::int64_t>(sizeof(T)));
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
