#pragma once
// Elementary functions on sixteen lanes, accurate to 2 or 3 units in the last place. Polynomials are Cephes'
// single-precision ones (log, tanh) and minimax fits (exp, the normal distribution function).
#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {

/// What e^x = 2^n p is made of: p for the nearest n, and n with its exponent's bias in the low bits.
struct ExpParts {
  f32x16 p;
  u32x16 biased;  // unsigned: what is added to exponents wraps around
};
CLIP_INLINE ExpParts exp_parts(f32x16 x) {
  constexpr float round_bias = 12582912.0f + 127;  // 1.5 * 2^23 rounds to integers
  const f32x16 biased = x * 1.44269504f + round_bias;
  const f32x16 n = biased - round_bias;
  const f32x16 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // |r| <= ln 2 / 2
  f32x16 p = r * 8.3125266e-3f + 4.1890328e-2f;                  // minimax, 1.1e-7 relative error
  p = p * r + 1.6667115e-1f;
  p = p * r + 4.9999230e-1f;
  p = p * r + 1.0f;
  return {p * r + 1.0f, (u32x16)biased};
}

/// e^x; 0 below the smallest normal number, infinity above the largest.
CLIP_INLINE f32x16 exp(f32x16 x) {
  constexpr float lowest = -87.33654f, highest = 88.72283f;
  const auto [p, biased] = exp_parts(x);
  // adding n to p's exponent also reaches n = 128, for which 2^n is no number
  const f32x16 y = (f32x16)((u32x16)p + (biased << 23) - (127u << 23));
  return x < lowest ? splat(0) : x > highest ? splat(__builtin_inff()) : x != x ? x : y;
}

/// e^x for x <= 0, in half the instructions; 0 from x = -87.7, just below the smallest normal number, downwards.
CLIP_INLINE f32x16 exp_nonpositive(f32x16 x) {
  const auto [p, biased] = exp_parts(max(splat(-88), x));  // there 2^n is 0; a NaN stays
  return p * (f32x16)(biased << 23);
}

/// Natural logarithm; -infinity at 0, NaN below. Subnormal numbers count as 0.
CLIP_INLINE f32x16 log(f32x16 x) {
  const i32x16 bits = as_int(x);
  const f32x16 half = as_float((bits & 0x007fffff) | 0x3f000000);  // [0.5, 1)
  // compare only inside ?: GCC takes a comparison's value apart into scalars
  const i32x16 exponent = half < 0.707106781f ? (bits >> 23) - 127 : (bits >> 23) - 126;
  const f32x16 m = (half < 0.707106781f ? half + half : half) - 1.0f;
  const f32x16 m2 = m * m;
  f32x16 p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const f32x16 e = __builtin_convertvector(exponent, f32x16);
  f32x16 y = m2 * m * p - e * 2.12194440e-4f - m2 * 0.5f;
  y = m + y + e * 0.693359375f;
  y += x * 0.0f;  // NaN stays NaN
  y = x > 3.40282347e+38f ? x : y;
  y = x < 1.17549435e-38f ? splat(-__builtin_inff()) : y;
  return x < 0.0f ? splat(__builtin_nanf("")) : y;
}

/// Square root of x >= 0, by Newton's method: compilers take the library's apart into scalars. Subnormal numbers give
/// something between 0 and their root.
CLIP_INLINE f32x16 sqrt(f32x16 x) {
  f32x16 y = as_float(0x5f3759df - (as_int(x) >> 1));  // 1 / sqrt(x) within 4 %
  for (int step = 0; step < 2; ++step) y = y * (1.5f - (0.5f * x) * y * y);
  const f32x16 root = x * y;
  const f32x16 exact = root + (0.5f * y) * (x - root * root);
  return x > 3.40282347e+38f ? x : exact;
}

/// 1 / (1 + e^-x)
CLIP_INLINE f32x16 sigmoid(f32x16 x) {
  const f32x16 e = exp_nonpositive(-abs(x));
  return (x < 0.0f ? e : splat(1)) / (1.0f + e);
}

CLIP_INLINE f32x16 tanh(f32x16 x) {
  const f32x16 z = abs(x), x2 = x * x;
  f32x16 p = x2 * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * x2 - 5.37397155531e-2f;
  p = p * x2 + 1.33314422036e-1f;
  p = p * x2 - 3.33332819422e-1f;
  const f32x16 near = (p * x2 + 1.0f) * x;  // keeps the sign of 0
  const f32x16 e = exp_nonpositive(z * -2.0f);
  const f32x16 far = (1.0f - e) / (1.0f + e);
  return z < 0.625f ? near : x < 0.0f ? -far : far;
}

/// The standard normal distribution function below -|x|, Phi(-|x|), and e^(-x^2 / 2), which its derivative needs too;
/// both are 0 from |x| = 13.26 on, where `magnitude` = |x| stops. Phi(-a) is e^(-a^2/2) P(t) with
/// t = 1 / (1 + 0.3 a / sqrt 2); P was fitted to 2e-8 relative error, so small values keep their relative accuracy.
struct NormalTail {
  f32x16 magnitude, probability, bell;
};
CLIP_INLINE NormalTail normal_tail(f32x16 x) {
  const f32x16 a = min(splat(13.26f), abs(x));  // a NaN stays
  const f32x16 t = 1.0f / (1.0f + a * (0.3f * 0.70710678f));
  f32x16 p = t * -6.471714478e-02f + 2.425487318e-01f;
  p = p * t - 2.556142593e-01f;
  p = p * t + 2.731986934e-01f;
  p = p * t - 4.681641672e-02f;
  p = p * t + 1.072184658e-01f;
  p = p * t + 7.424113548e-02f;
  p = p * t + 8.534597779e-02f;
  p = p * t + 8.459480686e-02f;
  const auto [fraction, biased] = exp_parts(a * a * -0.5f);
  const f32x16 bell = fraction * (f32x16)(biased << 23);
  return {a, bell * p * t, bell};
}

/// Phi(x)
CLIP_INLINE f32x16 normal_cdf(f32x16 x) {
  const f32x16 tail = normal_tail(x).probability;
  return x < 0.0f ? tail : 1.0f - tail;
}

}  // namespace clip::kernels::cpu
