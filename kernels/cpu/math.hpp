#pragma once
// Elementary functions on sixteen lanes. Polynomials are Cephes' single-precision ones (exp, log, tanh), accurate to
// about 2 units in the last place, and a minimax fit for the normal distribution function.
#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {

/// e^x; 0 below the smallest normal number, infinity above the largest.
CLIP_INLINE f32x16 exp(f32x16 x) {
  constexpr float lowest = -87.33654f, highest = 88.72283f, round_bias = 12582912.0f;  // 1.5 * 2^23
  const f32x16 clamped = x < lowest ? splat(lowest) : x > highest ? splat(highest) : x;
  const f32x16 biased = clamped * 1.44269504f + round_bias;
  const i32x16 n = as_int(biased) - as_int(splat(round_bias));
  const f32x16 whole = biased - round_bias;
  const f32x16 r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  f32x16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^n as 2^(n-1) * 2: n reaches 128, one more than an exponent holds
  const f32x16 y = p * as_float((n + 126) << 23) * 2.0f;
  return x < lowest ? splat(0) : x > highest ? splat(__builtin_inff()) : x != x ? x : y;
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

/// 1 / (1 + e^-x)
CLIP_INLINE f32x16 sigmoid(f32x16 x) { return 1.0f / (1.0f + exp(-x)); }

CLIP_INLINE f32x16 tanh(f32x16 x) {
  const f32x16 z = abs(x), x2 = x * x;
  f32x16 p = x2 * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * x2 - 5.37397155531e-2f;
  p = p * x2 + 1.33314422036e-1f;
  p = p * x2 - 3.33332819422e-1f;
  const f32x16 near = p * x2 * x + x;
  const f32x16 far = 1.0f - 2.0f / (exp(z + z) + 1.0f);
  return z < 0.625f ? near : x < 0.0f ? -far : far;
}

/// Phi(x), the standard normal distribution function, and e^(-x^2 / 2), which its derivative needs too.
/// For x <= 0 it is e^(-x^2/2) P(t) with t = 1 / (1 + 0.3 |x| / sqrt 2); P was fitted to 2e-8 relative error, so small
/// values keep their relative accuracy. For x > 0 it is 1 - Phi(-x).
struct NormalCdf {
  f32x16 cdf, bell;
};
CLIP_INLINE NormalCdf normal_cdf(f32x16 x) {
  const f32x16 t = 1.0f / (1.0f + abs(x) * (0.3f * 0.70710678f));
  f32x16 p = t * -6.471714478e-02f + 2.425487318e-01f;
  p = p * t - 2.556142593e-01f;
  p = p * t + 2.731986934e-01f;
  p = p * t - 4.681641672e-02f;
  p = p * t + 1.072184658e-01f;
  p = p * t + 7.424113548e-02f;
  p = p * t + 8.534597779e-02f;
  p = p * t + 8.459480686e-02f;
  const f32x16 bell = exp(x * x * -0.5f);
  const f32x16 lower = bell * p * t;
  return {x < 0.0f ? lower : 1.0f - lower, bell};
}

}  // namespace clip::kernels::cpu
