// One pass over memory: 8 bytes read and 4 written for each element.
#include "kernels/running_average.hpp"

#include "kernels/cpu/simd.hpp"
#include "kernels/cpu/tensor_list.hpp"

namespace clip::kernels::cpu {

void running_average(std::span<const AveragedTensor> tensors, float rest) {
  parallel_tensors(
      tensors,
      elements_per_thread, [=](std::size_t index, std::int64_t begin, std::int64_t end) __attribute__((always_inline)) {
        const AveragedTensor t = tensors[index];
        for_vectors(
            end - begin, [&](std::int64_t j, auto count) __attribute__((always_inline)) {
              const f32x16 mean = load(t.mean + begin + j, count), value = load(t.value + begin + j, count);
              store(t.mean + begin + j, mean + rest * (value - mean), count);
            });
      });
}

}  // namespace clip::kernels::cpu
