// One pass over memory: 16 bytes read and 12 written for each element; clipping reads the gradients before.
#include "kernels/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/math.hpp"
#include "kernels/cpu/tensor_list.hpp"

namespace clip::kernels::cpu {

void adamw(std::span<const AdamWTensor> tensors, const AdamWRates* rates, float factor) {
  parallel_tensors(
      tensors, elements_per_thread / 4,
      [=](std::size_t index, std::int64_t begin, std::int64_t end) __attribute__((always_inline)) {
        const AdamWTensor t = tensors[index];
        const AdamWRates r = rates[index];
        for_vectors(
            end - begin, [&](std::int64_t j, auto count) __attribute__((always_inline)) {
              const std::int64_t i = begin + j;
              const f32x16 g = load(t.g + i, count) * factor, before = load(t.m + i, count);
              const f32x16 m = before + r.beta1_rest * (g - before);
              const f32x16 v = load(t.v + i, count) * r.beta2 + (r.beta2_rest * g) * g;
              const f32x16 p = load(t.p + i, count) * r.keep;
              store(t.m + i, m, count);
              store(t.v + i, v, count);
              store(t.p + i, p - r.step * (m / (sqrt(v) * r.correction + r.eps)), count);
            });
      });
}

float clip_factor(std::span<const AdamWTensor> tensors, float max_norm) {
  constexpr std::int64_t block = 4096;
  double squares = 0;
  for (const AdamWTensor& t : tensors) {
    std::vector<float> sums(static_cast<std::size_t>((t.count + block - 1) / block));
    float* const out = sums.data();
    parallel_for(std::ssize(sums), elements_per_thread / block, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float* const g = t.g + i * block;
        out[i] = dot(g, g, std::min(block, t.count - i * block));
      }
    });
    for (const float sum : sums) squares += static_cast<double>(sum);
  }
  const auto factor = static_cast<float>(static_cast<double>(max_norm) / (std::sqrt(squares) + 1e-6));
  return factor < 1 ? factor : 1;
}

}  // namespace clip::kernels::cpu
