// f32 <-> bf16 is vectorised, the other pairs are plain loops: they convert ids, masks and stored weights once.
#include "kernels/cast.hpp"

#include <limits>
#include <type_traits>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

template <class To, class From>
CLIP_INLINE To convert(From x) {
  if constexpr (std::is_integral_v<From>) {
    if constexpr (std::is_integral_v<To>)
      return static_cast<To>(x);
    else
      return To(static_cast<float>(x));
  } else if constexpr (std::is_integral_v<To>) {
    const double value = static_cast<float>(x);
    if (value != value) return 0;
    // the bounds as doubles that are exact, so that the comparison is: 2^63 itself does not fit
    constexpr double low = static_cast<double>(std::numeric_limits<To>::min());
    constexpr To half = std::numeric_limits<To>::max() / 2 + 1;
    constexpr double high = static_cast<double>(half) * 2.0;
    if (value <= low) return std::numeric_limits<To>::min();
    if (value >= high) return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return To(static_cast<float>(x));
  }
}

template <class To, class From>
void cast_all(To* y, const From* x, std::int64_t n) {
  const bool streamed = should_stream<To>(n);
  parallel_elements(n, [=](std::int64_t begin, std::int64_t end) {
    if constexpr ((std::is_same_v<From, bf16> && std::is_same_v<To, float>) ||
                  (std::is_same_v<From, float> && std::is_same_v<To, bf16>)) {
      map(
          y, begin, end, streamed, [](f32x16 v) __attribute__((always_inline)) { return v; }, x);
    } else {
      for (std::int64_t i = begin; i < end; ++i) y[i] = convert<To>(x[i]);
    }
  });
}

template <class From>
void cast_from(void* y, dtype to, const From* x, std::int64_t n) {
  switch (to) {
    case dtype::f32: return cast_all(static_cast<float*>(y), x, n);
    case dtype::bf16: return cast_all(static_cast<bf16*>(y), x, n);
    case dtype::f16: return cast_all(static_cast<f16*>(y), x, n);
    case dtype::i32: return cast_all(static_cast<std::int32_t*>(y), x, n);
    case dtype::i64: return cast_all(static_cast<std::int64_t*>(y), x, n);
    case dtype::u8: return cast_all(static_cast<std::uint8_t*>(y), x, n);
  }
}

}  // namespace

void cast(void* y, dtype to, const void* x, dtype from, std::int64_t n) {
  switch (from) {
    case dtype::f32: return cast_from(y, to, static_cast<const float*>(x), n);
    case dtype::bf16: return cast_from(y, to, static_cast<const bf16*>(x), n);
    case dtype::f16: return cast_from(y, to, static_cast<const f16*>(x), n);
    case dtype::i32: return cast_from(y, to, static_cast<const std::int32_t*>(x), n);
    case dtype::i64: return cast_from(y, to, static_cast<const std::int64_t*>(x), n);
    case dtype::u8: return cast_from(y, to, static_cast<const std::uint8_t*>(x), n);
  }
}

}  // namespace clip::kernels::cpu
