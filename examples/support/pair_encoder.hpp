#pragma once
// Captioned pictures, and the dual encoder that is trained on them. Each side is either rows of features, which a
// frozen encoder made once, or an encoder that runs on each batch.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "clip/data/batches.hpp"
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

/// Heads, and the encoders that run on each batch. Parameters that need gradients are trained.
struct PairEncoder {
  std::optional<TextEncoder> text;
  std::optional<ImageEncoder> image;
  DualHeads heads;

  void visit(auto&& v) {
    v("text", text);
    v("image", image);
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

/// The folder of a dual encoder: what was trained, and links to the rest in these folders.
void save_model(PairEncoder& model, const std::filesystem::path& text_model, const std::filesystem::path& image_model,
                const std::filesystem::path& folder);

}  // namespace clip
