#pragma once
// Sixteen f32 lanes, whatever the instruction set: the compiler splits them where registers are narrower, so one source
// serves SSE2, AVX2 and AVX-512, and a row is reduced in the same order everywhere. Elements are widened to f32 on load
// and rounded on store. Loads and stores take any alignment; those with a count touch only that many elements.
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "clip/core/dtype.hpp"
#include "kernels/cpu/parallel.hpp"

namespace clip::kernels::cpu {

using f32x16 = float __attribute__((vector_size(64)));
using i32x16 = std::int32_t __attribute__((vector_size(64)));
using u32x16 = std::uint32_t __attribute__((vector_size(64)));
using u16x16 = std::uint16_t __attribute__((vector_size(32)));

inline constexpr std::int64_t lanes = 16;

CLIP_INLINE f32x16 splat(float value) { return f32x16{} + value; }
CLIP_INLINE f32x16 as_float(i32x16 v) { return (f32x16)v; }
CLIP_INLINE i32x16 as_int(f32x16 v) { return (i32x16)v; }
CLIP_INLINE f32x16 min(f32x16 a, f32x16 b) { return a < b ? a : b; }
CLIP_INLINE f32x16 max(f32x16 a, f32x16 b) { return a > b ? a : b; }
CLIP_INLINE f32x16 abs(f32x16 v) { return as_float(as_int(v) & 0x7fffffff); }

// A permutation with zeros, since GCC 12 needs five instructions for the conversion and the shift.
CLIP_INLINE f32x16 widen(u16x16 v) {
  constexpr u16x16 zero = {};
  return (f32x16)__builtin_shufflevector(zero, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25,
                                         10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
CLIP_INLINE u16x16 narrow(f32x16 v) {
  const u32x16 u = (u32x16)v;
  const u32x16 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const u32x16 quiet_nan = (u >> 16) | 0x40u;
  return __builtin_convertvector(v != v ? quiet_nan : rounded, u16x16);
}

/// IEEE halves. Those of exponent 0 are multiples of 2^-24, which a subtraction makes of them: no arithmetic on f32's
/// own subnormals, which is slow or off.
CLIP_INLINE f32x16 widen_half(u16x16 v) {
  const i32x16 half = (i32x16)widen(v);  // in the upper 16 bits
  const i32x16 magnitude = half >> 3 & 0x0fffe000;
  const f32x16 small = as_float(magnitude + (113 << 23)) - 0x1p-14f;
  const f32x16 normal = as_float(magnitude + (112 << 23));
  const f32x16 special = as_float(magnitude + (224 << 23));  // infinity and NaN
  const f32x16 value = magnitude < 1 << 23 ? small : magnitude < 31 << 23 ? normal : special;
  return as_float(as_int(value) | (half & INT32_MIN));
}

CLIP_INLINE f32x16 load(const float* p) {
  f32x16 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
CLIP_INLINE f32x16 load(const bf16* p) {
  u16x16 v;
  std::memcpy(&v, p, sizeof v);
  return widen(v);
}
CLIP_INLINE f32x16 load(const f16* p) {
  u16x16 v;
  std::memcpy(&v, p, sizeof v);
  return widen_half(v);
}
CLIP_INLINE void store(float* p, f32x16 v) { std::memcpy(p, &v, sizeof v); }
CLIP_INLINE void store(bf16* p, f32x16 v) {
  const u16x16 bits = narrow(v);
  std::memcpy(p, &bits, sizeof bits);
}

/// The first `count` elements, the other lanes `rest`.
template <class T>
CLIP_INLINE f32x16 load(const T* p, std::int64_t count, float rest = 0) {
  f32x16 v = splat(rest);
  for (std::int64_t i = 0; i < count; ++i) v[i] = static_cast<float>(p[i]);
  return v;
}
template <class T>
CLIP_INLINE void store(T* p, f32x16 v, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) p[i] = T(v[i]);
}

/// Lane sums and maxima in a fixed order: halves, then quarters, …
CLIP_INLINE float sum(f32x16 v) {
  for (int half = 8; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  return v[0];
}
CLIP_INLINE float max(f32x16 v) {
  for (int half = 8; half >= 1; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] > v[i + half] ? v[i] : v[i + half];
  return v[0];
}

/// Stands for a count where all lanes are meant.
struct AllLanes {};
template <class T>
CLIP_INLINE f32x16 load(const T* p, AllLanes) {
  return load(p);
}
template <class T>
CLIP_INLINE void store(T* p, f32x16 v, AllLanes) {
  store(p, v);
}

/// `v` with 0 in all but the first `count` lanes.
CLIP_INLINE f32x16 first_lanes(f32x16 v, std::int64_t count) {
  constexpr i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane < static_cast<std::int32_t>(count) ? v : splat(0);
}

/// f(i, AllLanes) for each whole vector of [0, n), then f(i, count) for what is left.
template <class F>
CLIP_INLINE void for_vectors(std::int64_t n, const F& f) {
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(i, AllLanes{});
  if (i < n) f(i, n - i);
}

/// Sum of f(x[i]…) over i in [0, n), in four chains so that additions overlap.
template <class F, class... From>
CLIP_INLINE float sum_of(std::int64_t n, const F& f, const From*... in) {
  f32x16 s[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (std::int64_t j = 0; j < 4; ++j) s[j] += f(load(in + i + j * lanes)...);
  for (; i + lanes <= n; i += lanes) s[0] += f(load(in + i)...);
  if (i < n) s[1] += first_lanes(f(load(in + i, n - i)...), n - i);
  return sum((s[0] + s[1]) + (s[2] + s[3]));
}

template <class T>
CLIP_INLINE float sum_of(const T* x, std::int64_t n) {
  return sum_of(
      n, [](f32x16 v) __attribute__((always_inline)) { return v; }, x);
}
template <class T>
CLIP_INLINE float dot(const T* a, const T* b, std::int64_t n) {
  return sum_of(
      n, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u * v; }, a, b);
}

/// Asks for the row after `row`, so that it arrives while passes over the cached `row` compute. Harmless past the end.
template <class T>
CLIP_INLINE void prefetch_next(const T* row, std::int64_t cols) {
  const char* next = reinterpret_cast<const char*>(row + cols);
  for (std::int64_t i = 0; i < cols * static_cast<std::int64_t>(sizeof(T)); i += 64) __builtin_prefetch(next + i);
}

/// Stores past the caches: for outputs too large to be found there again, it saves reading each line before writing it.
/// `p` must be aligned to 16 bytes. `parallel_for` orders these stores before what follows it.
CLIP_INLINE void stream(float* p, f32x16 v) {
#if defined(__SSE2__)
  __m128 parts[4];
  std::memcpy(parts, &v, sizeof v);
  for (int i = 0; i < 4; ++i) _mm_stream_ps(p + 4 * i, parts[i]);
#else
  store(p, v);
#endif
}
CLIP_INLINE void stream(bf16* p, f32x16 v) {
#if defined(__SSE2__)
  const u16x16 bits = narrow(v);
  __m128i parts[2];
  std::memcpy(parts, &bits, sizeof bits);
  for (int i = 0; i < 2; ++i) _mm_stream_si128(reinterpret_cast<__m128i*>(p) + i, parts[i]);
#else
  store(p, v);
#endif
}
/// Streams or stores; a part of a vector is always stored.
template <class T>
CLIP_INLINE void put(T* p, f32x16 v, bool streamed, AllLanes) {
  if (streamed)
    stream(p, v);
  else
    store(p, v);
}
template <class T>
CLIP_INLINE void put(T* p, f32x16 v, bool, std::int64_t count) {
  store(p, v, count);
}
/// Whether an output of `bytes` is better streamed: when it is large beside the last-level cache.
bool should_stream_bytes(std::int64_t bytes);
/// The same for `n` elements of T.
template <class T>
bool should_stream(std::int64_t n) {
  return should_stream_bytes(n * static_cast<std::int64_t>(sizeof(T)));
}
CLIP_INLINE bool can_stream(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// y[i] = f(x[i]…) for i in [begin, end), streamed where alignment allows.
template <class To, class F, class... From>
CLIP_INLINE void map(To* y, std::int64_t begin, std::int64_t end, bool streamed, const F& f, const From*... in) {
  std::int64_t i = begin;
  if (streamed && can_stream(y + begin))
    for (; i + lanes <= end; i += lanes) stream(y + i, f(load(in + i)...));
  for (; i + lanes <= end; i += lanes) store(y + i, f(load(in + i)...));
  if (i < end) store(y + i, f(load(in + i, end - i)...), end - i);
}

}  // namespace clip::kernels::cpu
