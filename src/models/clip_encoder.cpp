#include "clip/models/clip_encoder.hpp"

#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/reduce.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"
#include "src/models/model_folder.hpp"

namespace clip {

bool ClipEncoder::is_in(const std::filesystem::path& folder) {
  const std::filesystem::path config = folder / "config.json";
  if (!is_there(config)) return false;
  const JsonFile json(config);
  return json.has("model_type") && json.json()["model_type"] == "clip";
}

ClipEncoder ClipEncoder::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  Clip model = Clip::load(folder, device, type);  // first: its config.json tells what kind of model this is
  ClipEncoder encoder{.tokenizer = ClipTokenizer::load(folder),
                      .preprocess = Preprocessor::load(folder),
                      .model = std::move(model),
                      .device = device};
  const ClipConfig& config = encoder.model.config;
  check(encoder.tokenizer.vocab_size() <= config.vocab_size, "clip", "expected a vocabulary of at most ",
        config.vocab_size, " tokens in ", quoted(folder), ", as config.json says, got ",
        encoder.tokenizer.vocab_size());
  const Size size = encoder.preprocess.size();
  check(size.width == config.image_size && size.height == config.image_size, "clip", "expected pictures to be made ",
        config.image_size, " x ", config.image_size, " in ", quoted(folder), ", as config.json says, got ", size.width,
        " x ", size.height, " from its preprocessing");
  return encoder;
}

Tensor ClipEncoder::embed_texts(std::span<const std::string> texts, bool truncate) const {
  return l2_normalize(model.embed_texts(tokenizer.encode(texts, {.truncate = truncate})));
}

Tensor ClipEncoder::embed_images(const Tensor& images) const {
  return l2_normalize(model.embed_images(to(images, device)));
}

void save_clip(Clip& model, const std::filesystem::path& from, const std::filesystem::path& folder) {
  if (!ClipEncoder::is_in(folder)) {
    check(!is_there(folder) || list_folder(folder).empty(), "save_clip", quoted(folder),
          " holds something that is no CLIP: expected a CLIP's folder, or a new one");
    link_folder(from, folder);
  }
  replace_weights(members(model), folder);
}

Tensor clip_score(const Tensor& image_rows, const Tensor& text_rows) {
  check(image_rows.rank() == 2 && image_rows.shape() == text_rows.shape(), "clip_score",
        "expected as many pictures as texts, rows [N, size], got ", image_rows.shape(), " and ", text_rows.shape());
  return scale(relu(sum(image_rows * text_rows, {1})), 100);
}

Tensor clip_score(const ClipEncoder& encoder, std::span<const std::filesystem::path> images,
                  std::span<const std::string> texts, bool truncate) {
  check(images.size() == texts.size(), "clip_score", "expected as many pictures as texts, got ", images.size(), " and ",
        texts.size());
  return clip_score(encoder.embed_images(images), encoder.embed_texts(texts, truncate));
}

}  // namespace clip
