#include "examples/support/query_encoder.hpp"

#include <memory>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "examples/support/pair_encoder.hpp"
#include "examples/support/picture_batches.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace fs = std::filesystem;

fs::path model_of(const fs::path& run) { return is_folder(run / "model") ? run / "model" : run; }

QueryEncoder load_query_encoder(const fs::path& model, const Device& device, dtype type) {
  const bool tuned = ClipEncoder::is_in(model);
  if (!tuned && !ClipEncoder::is_in(model / "clip")) {
    const auto encoder = std::make_shared<DualEncoder>(DualEncoder::load(model, device, type));
    return {[encoder](std::span<const std::string> texts) { return encoder->embed_texts(texts); },
            encoder->image.preprocess, [encoder](const Tensor& pixels) { return encoder->embed_images(pixels); }};
  }
  const auto encoder = std::make_shared<PairEncoder>();
  encoder->clip = ClipEncoder::load(tuned ? model : model / "clip", device, type);
  if (!tuned) {
    encoder->heads = load_heads(model, encoder->clip->size(), encoder->clip->size());
    for (const Member& member : members(*encoder->heads)) *member.tensor = to(*member.tensor, device);
  }
  return {
      [encoder](std::span<const std::string> texts) { return encoder->project_texts(encoder->text_features(texts)); },
      encoder->preprocess(),
      [encoder](const Tensor& pixels) { return encoder->project_images(encoder->image_features(pixels)); }};
}

Tensor embed_pictures(const Program& program, const QueryEncoder& encoder, std::vector<fs::path>& files,
                      bool skip_bad) {
  constexpr std::size_t batch = 64;
  std::vector<Tensor> rows;
  std::vector<fs::path> good;
  Progress progress("pictures", std::ssize(files), program.quiet);
  for_picture_batches(program, encoder.preprocess, files, batch, skip_bad, progress, [&](const PictureBatch& some) {
    rows.push_back(encoder.images(some.pixels));
    for (const std::size_t i : some.items) good.push_back(files[i]);
  });
  check(!good.empty(), "images", "expected pictures that can be read, got none");
  files = std::move(good);
  return concat(rows);
}

}  // namespace clip
