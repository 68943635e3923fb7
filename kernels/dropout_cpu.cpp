// One pass over memory. A mask costs about 50 vector instructions for 16 elements, which is what limits bf16.
#include "kernels/dropout.hpp"

#include "kernels/cpu/philox.hpp"

namespace clip::kernels::cpu {
namespace {

/// y[i] = use(kept x[i] / (1 - p), in[i]…)
template <class T, class Use, class... In>
void drop(T* y, const T* x, float p, std::uint64_t seed, std::uint64_t offset, std::int64_t n, const Use& use,
          const In*... in) {
  const bool streamed = should_stream(n * static_cast<std::int64_t>(sizeof(T))) && can_stream(y);
  const auto last_dropped = static_cast<std::uint32_t>(dropout_threshold(p) - 1);
  const float scale = 1.0f / (1.0f - p);
  parallel_elements(n, [=](std::int64_t begin, std::int64_t end) {  // begin is a multiple of 64
    const PhiloxStream stream_of_words(seed);
    const auto dropped = [&](std::int64_t i, f32x16 v) __attribute__((always_inline)) {
      const u32x16 words = stream_of_words.words(offset + static_cast<std::uint64_t>(i / 4));
      return words > last_dropped ? v * scale : splat(0);
    };
    std::int64_t i = begin;
    if (streamed)
      for (; i + lanes <= end; i += lanes) stream(y + i, use(dropped(i, load(x + i)), load(in + i)...));
    for (; i + lanes <= end; i += lanes) store(y + i, use(dropped(i, load(x + i)), load(in + i)...));
    if (i < end) store(y + i, use(dropped(i, load(x + i, end - i)), load(in + i, end - i)...), end - i);
  });
}

}  // namespace

template <class T>
void dropout(T* y, const T* x, float p, std::uint64_t seed, std::uint64_t offset, std::int64_t n) {
  drop(
      y, x, p, seed, offset, n, [](f32x16 v) __attribute__((always_inline)) { return v; });
}

template <class T>
void dropout_add(T* y, const T* x, const T* residual, float p, std::uint64_t seed, std::uint64_t offset,
                 std::int64_t n) {
  drop(
      y, x, p, seed, offset, n, [](f32x16 v, f32x16 r) __attribute__((always_inline)) { return v + r; }, residual);
}

template void dropout(float*, const float*, float, std::uint64_t, std::uint64_t, std::int64_t);
template void dropout(bf16*, const bf16*, float, std::uint64_t, std::uint64_t, std::int64_t);
template void dropout_add(float*, const float*, const float*, float, std::uint64_t, std::uint64_t, std::int64_t);
template void dropout_add(bf16*, const bf16*, const bf16*, float, std::uint64_t, std::uint64_t, std::int64_t);

}  // namespace clip::kernels::cpu
