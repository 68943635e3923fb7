#include "clip/core/random.hpp"

#include <cmath>
#include <numbers>

namespace clip {
namespace {

/// Fills an f32 tensor on the CPU four elements a Philox block, then converts and moves it.
template <class FourOf>
Tensor generate(const Shape& shape, Random& random, dtype type, const Device& device, const char* name, FourOf&& four) {
  check(is_floating(type), name, "expected a floating dtype, got ", type);
  if (random.base().defined())
    fail(name, "expected a random stream placed on cpu, got one on ", random.base().device());
  const std::uint64_t first = random.reserve(shape.numel());
  const auto fill = [&]<class T>() {
    Tensor t(shape, type);
    T* out = t.mutable_data<T>();
    const std::int64_t n = shape.numel();
#pragma omp parallel for if (n >= 16384)
    for (std::int64_t i = 0; i < n; i += 4) {
      const std::array<float, 4> values = four(philox(random.seed(), first + static_cast<std::uint64_t>(i / 4)));
      for (std::int64_t j = 0; j < 4 && i + j < n; ++j) out[i + j] = T(values[static_cast<std::size_t>(j)]);
    }
    if (device.is_cpu()) return t;
    Tensor moved(shape, type, device);
    moved.copy_from(t);
    return moved;
  };
  if (type == dtype::bf16) return fill.template operator()<bf16>();
  if (type == dtype::f16) return fill.template operator()<f16>();
  return fill.template operator()<float>();
}

/// A pair of normals from two words: the first in (0, 1] so that its logarithm is finite.
void box_muller(std::uint32_t a, std::uint32_t b, float* out) {
  const double radius = std::sqrt(-2.0 * std::log((a + 1.0) * 0x1p-32));
  const double angle = 2.0 * std::numbers::pi * (b * 0x1p-32);
  out[0] = static_cast<float>(radius * std::cos(angle));
  out[1] = static_cast<float>(radius * std::sin(angle));
}

}  // namespace

Tensor randn(const Shape& shape, Random& random, dtype type, const Device& device) {
  return generate(shape, random, type, device, "randn", [](const std::array<std::uint32_t, 4>& words) {
    std::array<float, 4> values;
    box_muller(words[0], words[1], &values[0]);
    box_muller(words[2], words[3], &values[2]);
    return values;
  });
}

Tensor rand(const Shape& shape, Random& random, dtype type, const Device& device) {
  return generate(shape, random, type, device, "rand", [](const std::array<std::uint32_t, 4>& words) {
    std::array<float, 4> values;
    for (std::size_t i = 0; i < 4; ++i) values[i] = static_cast<float>(words[i] >> 8) * 0x1p-24f;
    return values;
  });
}

}  // namespace clip
