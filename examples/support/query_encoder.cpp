#include "examples/support/query_encoder.hpp"

#include <memory>

#include "clip/models/dual_encoder.hpp"

namespace clip {

QueryEncoder load_query_encoder(const std::filesystem::path& model, const Device& device, dtype type) {
  const auto encoder = std::make_shared<DualEncoder>(DualEncoder::load(model, device, type));
  return {[encoder](std::span<const std::string> texts) { return encoder->embed_texts(texts); },
          [encoder](std::span<const std::filesystem::path> files) { return encoder->embed_images(files); }};
}

}  // namespace clip
