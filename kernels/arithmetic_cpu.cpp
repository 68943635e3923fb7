// Memory-bound loops. A broadcast is walked as rows along the last dimension, in which each operand either advances or
// stays; the rows' offsets come from an odometer over the other dimensions.
#include "kernels/arithmetic.hpp"

#include "kernels/cpu/math.hpp"

namespace clip::kernels::cpu {
namespace {

template <class T, class F>
CLIP_INLINE void row(T* y, const T* a, const T* b, std::int64_t n, bool a_moves, bool b_moves, bool streamed,
                     const F& f) {
  if (a_moves && b_moves) return map(y, 0, n, streamed, f, a, b);
  const f32x16 va = splat(static_cast<float>(*a)), vb = splat(static_cast<float>(*b));
  if (a_moves)
    return map(
        y, 0, n, streamed, [&](f32x16 v) __attribute__((always_inline)) { return f(v, vb); }, a);
  if (b_moves)
    return map(
        y, 0, n, streamed, [&](f32x16 v) __attribute__((always_inline)) { return f(va, v); }, b);
  const f32x16 value = f(va, vb);
  for (std::int64_t i = 0; i < n; ++i) y[i] = T(value[0]);
}

template <class T, class F>
void walk(T* y, const T* a, const T* b, const Broadcast& s, const F& f) {
  if (s.rank <= 1) {
    const std::int64_t n = s.rank == 0 ? 1 : s.extent[0];
    const bool a_moves = s.rank == 1 && s.a_stride[0] != 0, b_moves = s.rank == 1 && s.b_stride[0] != 0;
    const bool streamed = should_stream<T>(n);
    return parallel_elements(n, [=](std::int64_t begin, std::int64_t end) {
      row(y + begin, a + (a_moves ? begin : 0), b + (b_moves ? begin : 0), end - begin, a_moves, b_moves, streamed, f);
    });
  }
  const std::size_t last = static_cast<std::size_t>(s.rank - 1);
  const std::int64_t cols = s.extent[last];
  std::int64_t rows = 1;
  for (std::size_t d = 0; d < last; ++d) rows *= s.extent[d];
  parallel_rows(rows, cols, [=](std::int64_t begin, std::int64_t end) {
    std::array<std::int64_t, 8> index{};
    std::int64_t a_at = 0, b_at = 0;
    for (std::int64_t rest = begin, d = static_cast<std::int64_t>(last) - 1; d >= 0; --d) {
      const auto i = static_cast<std::size_t>(d);
      index[i] = rest % s.extent[i];
      rest /= s.extent[i];
      a_at += index[i] * s.a_stride[i];
      b_at += index[i] * s.b_stride[i];
    }
    for (std::int64_t r = begin; r < end; ++r) {
      row(y + r * cols, a + a_at, b + b_at, cols, s.a_stride[last] != 0, s.b_stride[last] != 0, false, f);
      for (std::size_t i = last; i-- > 0;) {
        a_at += s.a_stride[i];
        b_at += s.b_stride[i];
        if (++index[i] < s.extent[i]) break;
        a_at -= s.a_stride[i] * s.extent[i];
        b_at -= s.b_stride[i] * s.extent[i];
        index[i] = 0;
      }
    }
  });
}

template <class T, class F>
void each(T* y, const T* x, std::int64_t n, const F& f) {
  const bool streamed = should_stream<T>(n);
  parallel_elements(n, [=](std::int64_t begin, std::int64_t end) { map(y, begin, end, streamed, f, x); });
}

}  // namespace

template <class T>
void arithmetic(Arithmetic op, T* y, const T* a, const T* b, const Broadcast& shape) {
  switch (op) {
    case Arithmetic::add:
      return walk(
          y, a, b, shape, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u + v; });
    case Arithmetic::sub:
      return walk(
          y, a, b, shape, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u - v; });
    case Arithmetic::mul:
      return walk(
          y, a, b, shape, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u * v; });
    case Arithmetic::div:
      return walk(
          y, a, b, shape, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u / v; });
  }
}

template <class T>
void add(T* y, const T* a, const T* b, std::int64_t n) {
  const bool streamed = y != a && y != b && should_stream<T>(n);
  parallel_elements(n, [=](std::int64_t begin, std::int64_t end) {
    map(
        y, begin, end, streamed, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u + v; }, a, b);
  });
}

template <class T>
void affine(T* y, const T* x, float scale, float shift, std::int64_t n) {
  each(
      y, x, n, [=](f32x16 v) __attribute__((always_inline)) { return v * scale + shift; });
}

template <class T>
void exp(T* y, const T* x, std::int64_t n) {
  each(
      y, x, n, [](f32x16 v) __attribute__((always_inline)) { return exp(v); });
}

template <class T>
void log(T* y, const T* x, std::int64_t n) {
  each(
      y, x, n, [](f32x16 v) __attribute__((always_inline)) { return log(v); });
}

template void arithmetic(Arithmetic, float*, const float*, const float*, const Broadcast&);
template void arithmetic(Arithmetic, bf16*, const bf16*, const bf16*, const Broadcast&);
template void add(float*, const float*, const float*, std::int64_t);
template void add(bf16*, const bf16*, const bf16*, std::int64_t);
template void affine(float*, const float*, float, float, std::int64_t);
template void affine(bf16*, const bf16*, float, float, std::int64_t);
template void exp(float*, const float*, std::int64_t);
template void exp(bf16*, const bf16*, std::int64_t);
template void log(float*, const float*, std::int64_t);
template void log(bf16*, const bf16*, std::int64_t);

}  // namespace clip::kernels::cpu
