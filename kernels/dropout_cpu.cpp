// One pass over memory. A mask costs about 45 vector instructions for 16 elements, which is what limits bf16.
#include "kernels/dropout.hpp"

#include <algorithm>

#include "kernels/cpu/philox.hpp"

namespace clip::kernels::cpu {
namespace {

/// y[i] = use(kept x[i] / (1 - p), in[i]…)
template <class T, class Use, class... In>
void drop(T* y, const T* x, const DropoutMask& mask, std::int64_t n, const Use& use, const In*... in) {
  const bool streamed = should_stream<T>(n) && can_stream(y);
  const auto last_dropped = static_cast<std::uint32_t>(dropout_threshold(mask.p) - 1);
  const float scale = 1.0f / (1.0f - mask.p);
  const std::uint64_t seed = mask.seed, offset = mask.offset;
  parallel_elements(n, [=](std::int64_t begin, std::int64_t end) {  // begin is a multiple of 64
    const PhiloxStream random(seed);
    const auto result = [=](u32x16 word, std::int64_t i, auto count) __attribute__((always_inline)) {
      const f32x16 scaled = load(x + i, count) * scale;
      return use(word > last_dropped ? scaled : f32x16{}, load(in + i, count)...);
    };
    const auto words = [=](std::int64_t i) __attribute__((always_inline)) {
      return random.words(offset + static_cast<std::uint64_t>(i) / 4);
    };
    std::int64_t i = begin;
    for (; streamed && i + 2 * lanes <= end; i += 2 * lanes) {
      const PhiloxWords w = words(i);
      stream(y + i, result(w.first, i, AllLanes{}));
      stream(y + i + lanes, result(w.second, i + lanes, AllLanes{}));
    }
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      const PhiloxWords w = words(i);
      store(y + i, result(w.first, i, AllLanes{}));
      store(y + i + lanes, result(w.second, i + lanes, AllLanes{}));
    }
    if (i == end) return;
    const PhiloxWords w = words(i);
    const std::int64_t first = std::min(end - i, lanes), second = end - i - first;
    store(y + i, result(w.first, i, first), first);
    store(y + i + lanes, result(w.second, i + lanes, second), second);
  });
}

}  // namespace

template <class T>
void dropout(T* y, const T* x, const DropoutMask& mask, std::int64_t n) {
  drop(
      y, x, mask, n, [](f32x16 v) __attribute__((always_inline)) { return v; });
}

template <class T>
void dropout_add(T* y, const T* x, const T* residual, const DropoutMask& mask, std::int64_t n) {
  drop(
      y, x, mask, n, [](f32x16 v, f32x16 r) __attribute__((always_inline)) { return v + r; }, residual);
}

template void dropout(float*, const float*, const DropoutMask&, std::int64_t);
template void dropout(bf16*, const bf16*, const DropoutMask&, std::int64_t);
template void dropout_add(float*, const float*, const float*, const DropoutMask&, std::int64_t);
template void dropout_add(bf16*, const bf16*, const bf16*, const DropoutMask&, std::int64_t);

}  // namespace clip::kernels::cpu
