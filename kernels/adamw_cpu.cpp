// One pass over memory: 16 bytes read and 12 written for each element. The elements of all tensors count as one range,
// so that threads share it evenly, however small the tensors are.
#include "kernels/adamw.hpp"

#include <algorithm>
#include <vector>

#include "kernels/cpu/math.hpp"

namespace clip::kernels::cpu {
namespace {

CLIP_INLINE void update(const AdamWTensor& t, std::int64_t begin, std::int64_t end) {
  for_vectors(
      end - begin, [&](std::int64_t j, auto count) __attribute__((always_inline)) {
        const std::int64_t i = begin + j;
        const f32x16 g = load(t.g + i, count), before = load(t.m + i, count);
        const f32x16 m = before + t.beta1_rest * (g - before);
        const f32x16 v = load(t.v + i, count) * t.beta2 + (t.beta2_rest * g) * g;
        const f32x16 p = load(t.p + i, count) * t.keep;
        store(t.m + i, m, count);
        store(t.v + i, v, count);
        store(t.p + i, p - t.step * (m / (sqrt(v) * t.correction + t.eps)), count);
      });
}

}  // namespace

void adamw(std::span<const AdamWTensor> tensors) {
  std::int64_t total = 0;
  for (const AdamWTensor& t : tensors) total += t.count;
  parallel_for(
      total, elements_per_thread / 4,
      [=](std::int64_t begin, std::int64_t end) {
        std::int64_t first = 0;  // of this tensor, in the range of all
        for (const AdamWTensor& t : tensors) {
          const std::int64_t from = std::max(begin, first), to = std::min(end, first + t.count);
          if (from < to) update(t, from - first, to - first);
          first += t.count;
        }
      },
      64);
}

double sum_of_squares(const float* x, std::int64_t n) {
  constexpr std::int64_t block = 4096;
  std::vector<float> sums(static_cast<std::size_t>((n + block - 1) / block));
  float* const out = sums.data();
  parallel_for(static_cast<std::int64_t>(sums.size()), elements_per_thread / block,
               [=](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i)
                   out[i] = dot(x + i * block, x + i * block, std::min(block, n - i * block));
               });
  double total = 0;
  for (const float sum : sums) total += static_cast<double>(sum);
  return total;
}

}  // namespace clip::kernels::cpu
