#include "examples/support/query_encoder.hpp"

#include <memory>

#include "clip/ops/cast.hpp"
#include "examples/support/pair_encoder.hpp"

namespace clip {

QueryEncoder load_query_encoder(const std::filesystem::path& model, const Device& device, dtype type) {
  const bool tuned = ClipEncoder::is_in(model);
  if (!tuned && !ClipEncoder::is_in(model / "clip")) {
    const auto encoder = std::make_shared<DualEncoder>(DualEncoder::load(model, device, type));
    return {[encoder](std::span<const std::string> texts) { return encoder->embed_texts(texts); },
            [encoder](std::span<const std::filesystem::path> files) { return encoder->embed_images(files); }};
  }
  const auto encoder = std::make_shared<PairEncoder>();
  encoder->clip = ClipEncoder::load(tuned ? model : model / "clip", device, type);
  if (!tuned) {
    encoder->heads = load_heads(model, encoder->clip->size(), encoder->clip->size());
    for (const Member& member : members(*encoder->heads)) *member.tensor = to(*member.tensor, device);
  }
  return {
      [encoder](std::span<const std::string> texts) { return encoder->project_texts(encoder->text_features(texts)); },
      [encoder](std::span<const std::filesystem::path> files) {
        return encoder->project_images(encoder->image_features(encoder->preprocess()(files)));
      }};
}

}  // namespace clip
