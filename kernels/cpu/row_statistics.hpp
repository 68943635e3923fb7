#pragma once
// What softmax and cross-entropy need to know of a row.
#include "kernels/cpu/math.hpp"

namespace clip::kernels::cpu {

struct RowStatistics {
  float max, sum;  // sum of e^(x - max)
};

template <class T>
CLIP_INLINE RowStatistics row_statistics(const T* x, std::int64_t cols) {
  constexpr float lowest = -__builtin_inff();
  f32x16 m = splat(lowest);
  std::int64_t i = 0;
  for (; i + lanes <= cols; i += lanes) m = max(m, load(x + i));
  if (i < cols) m = max(m, load(x + i, cols - i, lowest));
  const float top = max(m);
  f32x16 s = {};
  for (i = 0; i + lanes <= cols; i += lanes) s += exp(load(x + i) - top);
  if (i < cols) s += exp(load(x + i, cols - i, lowest) - top);
  return {top, sum(s)};
}

}  // namespace clip::kernels::cpu
