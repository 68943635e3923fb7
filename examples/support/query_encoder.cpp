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
  const auto encoder = std::make_shared<PairEncoder>();
  if (ClipEncoder::is_in(model)) {
    encoder->clip = ClipEncoder::load(model, device, type);
  } else if (ClipEncoder::is_in(model / "clip")) {
    encoder->clip = ClipEncoder::load(model / "clip", device, type);
    encoder->heads = load_heads(model, encoder->clip->size(), encoder->clip->size());
    for (const Member& member : members(*encoder->heads)) *member.tensor = to(*member.tensor, device);
  } else {
    DualEncoder both = DualEncoder::load(model, device, type);
    encoder->text = std::move(both.text);
    encoder->image = std::move(both.image);
    encoder->heads = std::move(both.heads);
  }
  return {[encoder](std::span<const std::string> texts) { return encoder->embed_texts(texts); }, encoder->preprocess(),
          [encoder](const Tensor& pixels) { return encoder->embed_images(pixels); }};
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
