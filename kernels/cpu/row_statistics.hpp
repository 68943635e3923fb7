#pragma once
// What softmax and cross-entropy need to know of a row.
#include "kernels/cpu/math.hpp"

namespace clip::kernels::cpu {

template <class T>
CLIP_INLINE float row_max(const T* x, std::int64_t cols) {
  constexpr float lowest = -__builtin_inff();
  f32x16 m[4] = {splat(lowest), splat(lowest), splat(lowest), splat(lowest)};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= cols; i += 4 * lanes)
    for (std::int64_t j = 0; j < 4; ++j) m[j] = max(m[j], load(x + i + j * lanes));
  for (; i + lanes <= cols; i += lanes) m[0] = max(m[0], load(x + i));
  if (i < cols) m[1] = max(m[1], load(x + i, cols - i, lowest));
  return max(max(max(m[0], m[1]), max(m[2], m[3])));
}

/// Sum of e^(x - top), top being the row's maximum.
template <class T>
CLIP_INLINE float row_sum_exp(const T* x, std::int64_t cols, float top) {
  return sum_of(
      cols, [=](f32x16 v) __attribute__((always_inline)) { return exp_nonpositive(v - top); }, x);
}

}  // namespace clip::kernels::cpu
