#include "examples/support/query_encoder.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "examples/support/pair_encoder.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace fs = std::filesystem;

fs::path model_of(const fs::path& run) { return is_folder(run / "model") ? run / "model" : run; }

QueryEncoder load_query_encoder(const fs::path& model, const Device& device, dtype type) {
  const bool tuned = ClipEncoder::is_in(model);
  if (!tuned && !ClipEncoder::is_in(model / "clip")) {
    const auto encoder = std::make_shared<DualEncoder>(DualEncoder::load(model, device, type));
    return {[encoder](std::span<const std::string> texts) { return encoder->embed_texts(texts); },
            [encoder](std::span<const fs::path> files) { return encoder->embed_images(files); }};
  }
  const auto encoder = std::make_shared<PairEncoder>();
  encoder->clip = ClipEncoder::load(tuned ? model : model / "clip", device, type);
  if (!tuned) {
    encoder->heads = load_heads(model, encoder->clip->size(), encoder->clip->size());
    for (const Member& member : members(*encoder->heads)) *member.tensor = to(*member.tensor, device);
  }
  return {
      [encoder](std::span<const std::string> texts) { return encoder->project_texts(encoder->text_features(texts)); },
      [encoder](std::span<const fs::path> files) {
        return encoder->project_images(encoder->image_features(encoder->preprocess()(files)));
      }};
}

Tensor embed_pictures(const Program& program, const QueryEncoder& encoder, std::vector<fs::path>& files,
                      bool skip_bad) {
  constexpr std::size_t batch = 64;
  std::vector<Tensor> rows;
  std::vector<fs::path> good;
  const auto add = [&](std::span<const fs::path> some) {
    rows.push_back(encoder.images(some));
    good.insert(good.end(), some.begin(), some.end());
  };
  Progress progress("pictures", std::ssize(files), program.quiet);
  for (std::size_t at = 0; at < files.size(); at += batch) {
    stop_if_interrupted();
    const auto part = std::span<const fs::path>(files).subspan(at, std::min(batch, files.size() - at));
    try {
      add(part);
    } catch (const Error&) {
      if (!skip_bad) throw;
      for (const fs::path& file : part) try {
          add({&file, 1});
        } catch (const Error& error) {
          program.warn(std::string("skipped: ") + error.what());
        }
    }
    progress.advance(std::ssize(part));
  }
  check(!good.empty(), "images", "expected pictures that can be read, got none");
  files = std::move(good);
  return concat(rows);
}

}  // namespace clip
