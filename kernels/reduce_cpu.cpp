// One pass over x, along its rows. inner == 1: each row is summed in four vectors; else rows are added up four at a
// time. Threads share the outputs, so no partial results need combining and sums do not depend on the thread count.
#include "kernels/reduce.hpp"

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
template <class T>
void sum(float* y, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  if (inner == 1)
    return parallel_rows(outer, n, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t o = begin; o < end; ++o) y[o] = sum_of(x + o * n, n);
    });
  constexpr std::int64_t wide = 2048;  // columns whose sums stay in the first-level cache
  const std::int64_t blocks = (inner + wide - 1) / wide;
  parallel_rows(outer * blocks, n * std::min(inner, wide), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t first = b % blocks * wide, cols = std::min(wide, inner - first);
      const T* block = x + b / blocks * n * inner + first;
      float* out = y + b / blocks * inner + first;
      std::fill(out, out + cols, 0.0f);
      std::int64_t k = 0;
      for (; k + 4 <= n; k += 4) {
        const T* row = block + k * inner;
        map(
            out, 0, cols, false,
            [](f32x16 s, f32x16 r0, f32x16 r1, f32x16 r2, f32x16 r3)
                __attribute__((always_inline)) { return s + ((r0 + r1) + (r2 + r3)); },
            out, row, row + inner, row + 2 * inner, row + 3 * inner);
      }
      for (; k < n; ++k)
        map(
            out, 0, cols, false, [](f32x16 s, f32x16 r) __attribute__((always_inline)) { return s + r; }, out,
            block + k * inner);
    }
  });
}

template <class T>
void max(T* y, std::int64_t* index, const T* x, std::int64_t outer, std::int64_t n, std::int64_t inner) {
  constexpr std::int64_t wide = 256;  // columns walked together, row by row
  const std::int64_t blocks = (inner + wide - 1) / wide;
  parallel_rows(outer * blocks, n * std::min(inner, wide), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t first = b % blocks * wide, cols = std::min(wide, inner - first);
      const T* block = x + b / blocks * n * inner + first;
      float best[wide];
      std::int64_t at[wide] = {};
      for (std::int64_t i = 0; i < cols; ++i) best[i] = block[i];
      for (std::int64_t k = 1; k < n; ++k)
        for (std::int64_t i = 0; i < cols; ++i) {
          const float candidate = block[k * inner + i];
          // the first of equals stays, and the first NaN
          const bool better = candidate > best[i] || (candidate != candidate && best[i] == best[i]);
          best[i] = better ? candidate : best[i];
          at[i] = better ? k : at[i];
        }
      for (std::int64_t i = 0; i < cols; ++i) {
        y[b / blocks * inner + first + i] = T(best[i]);
        index[b / blocks * inner + first + i] = at[i];
      }
    }
  });
}

template <class T>
void max_backward(T* dx, const T* dy, const std::int64_t* index, std::int64_t outer, std::int64_t n,
                  std::int64_t inner) {
  parallel_rows(outer, n * inner, [=](std::int64_t begin, std::int64_t end) {
    std::fill(dx + begin * n * inner, dx + end * n * inner, T(0.0f));
    for (std::int64_t o = begin; o < end; ++o)
      for (std::int64_t i = 0; i < inner; ++i) dx[(o * n + index[o * inner + i]) * inner + i] = dy[o * inner + i];
  });
}

template void sum(float*, const float*, std::int64_t, std::int64_t, std::int64_t);
template void sum(float*, const bf16*, std::int64_t, std::int64_t, std::int64_t);
template void max(float*, std::int64_t*, const float*, std::int64_t, std::int64_t, std::int64_t);
template void max(bf16*, std::int64_t*, const bf16*, std::int64_t, std::int64_t, std::int64_t);
template void max_backward(float*, const float*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t);
template void max_backward(bf16*, const bf16*, const std::int64_t*, std::int64_t, std::int64_t, std::int64_t);

}  // namespace clip::kernels::cpu
