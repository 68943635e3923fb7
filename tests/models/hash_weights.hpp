#pragma once
// Weights that both sides can make; tests/reference/hash_weights.py explains.
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "clip/core/tensor.hpp"
#include "clip/nn/module.hpp"

namespace clip::test {

inline std::vector<float> hash_uniform(std::string_view name, std::int64_t count) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint64_t z = hash + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    values[i] = static_cast<float>(z >> 40) * 0x1p-23f - 1.0f;
  }
  return values;
}

inline Tensor hash_tensor(std::string_view name, const Shape& shape) {
  std::vector<float> values = hash_uniform(name, shape.numel());
  const float bound =
      shape.rank() >= 2
          ? static_cast<float>(std::sqrt(3.0 / (static_cast<double>(shape.numel()) / static_cast<double>(shape[0]))))
          : 0;
  const bool around_one = name.ends_with("weight") || name.ends_with("running_var");
  for (float& v : values) v = shape.rank() >= 2 ? v * bound : around_one ? 1.0f + 0.25f * v : 0.1f * v;
  return Tensor::from(values, shape);
}

/// Fills a module made with `Init::none()`.
template <class Module>
void hash_fill(Module& module, const Device& device = {}) {
  for (const Member& member : members(module))
    *member.tensor = to(hash_tensor(member.name, member.tensor->shape()), device);
}

}  // namespace clip::test
