#pragma once
// Captioned pictures, and the dual encoder that is trained on them. Each side is either rows of features, which a
// frozen encoder made once, or an encoder that runs on each batch.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clip/core/graph.hpp"
#include "clip/data/batches.hpp"
#include "clip/models/clip_encoder.hpp"
#include "clip/models/dual_encoder.hpp"

namespace clip {

struct Pairs {
  Features features;                       ///< `text` and `image` undefined where the encoder runs on each batch
  std::vector<std::string> captions = {};  ///< needed only then
  /// The input of the image encoder for these pictures: f32 [N, H, W, 3]; and, varied at random, in a step of training,
  /// their sides times `scale`.
  std::function<Tensor(std::span<const std::int32_t> pictures)> pixels = {};
  std::function<Tensor(std::span<const std::int32_t> pictures, std::int64_t step, double scale)> training_pixels = {};

  std::vector<std::string> texts(std::span<const std::int32_t> some) const;
};

/// The encoders that run on each batch, or a CLIP in place of both, and heads on their features. A CLIP without heads
/// is trained itself. Parameters that need gradients are trained.
struct PairEncoder {
  std::optional<TextEncoder> text = {};
  std::optional<ImageEncoder> image = {};
  std::optional<ClipEncoder> clip = {};
  std::optional<DualHeads> heads = {};
  Graphs text_graphs = {}, image_graphs = {};  ///< of `embed_texts` and `embed_images`

  const Device& device() const { return clip ? clip->device : text ? text->device : image->device; }
  /// The texts as `text_features` takes them, on the CPU; those that are too long are cut.
  Tokens tokens(std::span<const std::string> texts) const;
  /// The same, for a GPU with one text more: `Tokens::rounded`.
  Tokens tokens_for_graphs(std::span<const std::string> texts) const;
  /// What the encoders make of texts, f32 [N, text_size()], and of pictures as `preprocess` makes them, both from any
  /// device. CLIP's features are in its space, not of length 1.
  Tensor text_features(const Tokens& tokens, Random* random = nullptr) const;
  Tensor image_features(const Tensor& pixels, Mode mode = Mode::inference);
  std::int64_t text_size() const { return clip ? clip->size() : text->config().size; }
  std::int64_t image_size() const { return clip ? clip->size() : image->size(); }
  const Preprocessor& preprocess() const { return clip ? clip->preprocess : image->preprocess; }
  /// Features in the shared space.
  Tensor project_texts(const Tensor& features, Random* random = nullptr) const {
    return heads ? heads->text(features, random) : features;
  }
  Tensor project_images(const Tensor& features, Random* random = nullptr) const {
    return heads ? heads->image(features, random) : features;
  }
  /// Features of texts and pictures in the shared space, without gradients: of a model in use, whose tensors stay where
  /// they are, because a GPU replays graphs.
  Tensor embed_texts(std::span<const std::string> texts);
  Tensor embed_images(const Tensor& pixels);
  /// Logarithm of the scale of cosines.
  const Tensor& logit_scale() const { return heads ? heads->logit_scale : clip->model.logit_scale; }

  void visit(auto&& v) {
    v("text", text);
    v("image", image);
    if (clip) v("clip", clip->model);
    v("heads", heads);
  }
  /// As it is used: in inference, computing in `type`.
  PairEncoder in_use(dtype type) const;
  /// As `save_model` left it; `like` tells which encoders it has.
  static PairEncoder load(const std::filesystem::path& folder, const PairEncoder& like, dtype type);
};

/// Rows f32 [N, size] in the shared space, of a model in use.
Tensor embed_texts(PairEncoder& model, const Pairs& pairs, std::span<const std::int32_t> captions);
Tensor embed_pictures(PairEncoder& model, const Pairs& pairs, std::span<const std::int32_t> pictures);

/// Both sides of some captions in the shared space: texts [captions, size], their pictures once each, and which belongs
/// to which.
struct Embedded {
  Tensor texts, images;
  std::vector<std::int64_t> picture_of;  ///< a row of `images`
};
Embedded embed(PairEncoder& model, const Pairs& pairs, std::span<const std::int32_t> captions);

/// Which side of a CLIP a tensor of this name belongs to: "text", "image", or neither, as its scale.
std::string_view clip_side(std::string_view name);

/// The folder of a dual encoder: what was trained, and links to the rest in these folders.
void save_model(PairEncoder& model, const std::filesystem::path& text_model, const std::filesystem::path& image_model,
                const std::filesystem::path& folder);
/// The same of heads on CLIP's features; or the folder of a CLIP that was trained itself.
void save_model(PairEncoder& model, const std::filesystem::path& clip_model, const std::filesystem::path& folder);

}  // namespace clip
