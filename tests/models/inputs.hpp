#pragma once
// The models and inputs of tests/reference/models.py and clip_models.py.
#include <vector>

#include "clip/text/tokens.hpp"
#include "tests/models/hash_weights.hpp"

namespace clip::test {

template <class Model, class Config>
Model hash_filled(const Config& config, const Device& device = {}) {
  Model model(config, Init::none());
  hash_fill(model, device);
  return model;
}

/// Texts of these lengths.
inline Tokens hash_tokens(std::int64_t vocab, const std::vector<std::size_t>& lengths, const Device& device = {}) {
  std::size_t total = 0;
  for (const std::size_t length : lengths) total += length;
  const auto u = hash_uniform("tokens", static_cast<std::int64_t>(total));
  std::vector<std::vector<std::int32_t>> texts;
  std::size_t at = 0;
  for (const std::size_t length : lengths) {
    std::vector<std::int32_t>& text = texts.emplace_back();
    for (std::size_t i = 0; i < length; ++i, ++at)
      text.push_back(static_cast<std::int32_t>((u[at] + 1) / 2 * static_cast<float>(vocab)));
  }
  return Tokens::pack(texts, device);
}

/// Texts of these lengths with the end token, the largest id, at `ends`.
inline Tokens end_tokens(std::int64_t vocab, const std::vector<std::size_t>& lengths,
                         const std::vector<std::size_t>& ends, const Device& device = {}) {
  std::vector<std::vector<std::int32_t>> texts;
  const Tokens packed = hash_tokens(vocab - 2, lengths);
  const auto ids = packed.ids.to_vector<std::int32_t>(), at = packed.offsets.to_vector<std::int32_t>();
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    texts.emplace_back(ids.begin() + at[i], ids.begin() + at[i + 1]);
    texts[i][ends[i]] = static_cast<std::int32_t>(vocab - 1);
  }
  return Tokens::pack(texts, device);
}

/// [count, size, size, 3] in [-2, 2).
inline Tensor hash_images(std::int64_t count, std::int64_t size, const Device& device = {}) {
  std::vector<float> values = hash_uniform("images", count * size * size * 3);
  for (float& v : values) v *= 2;
  return Tensor::from(values, {count, size, size, 3}, device);
}

}  // namespace clip::test
