#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "clip/models/image_encoder.hpp"
#include "clip/models/text_encoder.hpp"
#include "clip/nn/projection_head.hpp"

namespace clip {

/// What maps the features of a text encoder and of an image encoder into one space, and the parameters of its loss.
struct DualHeads {
  ProjectionHead text, image;
  Tensor logit_scale, logit_bias;  ///< f32 [1]: logarithm of the scale of cosines, and their bias; undefined where the
                                   ///< loss has none

  DualHeads(std::int64_t text_size, std::int64_t image_size, std::int64_t size, Init init, float dropout = 0.1f)
      : text(text_size, size, init, dropout), image(image_size, size, init, dropout) {}
  void visit(auto&& v) {
    v("text_projection", text);
    v("image_projection", image);
    v("logit_scale", logit_scale);
    v("logit_bias", logit_bias);
  }
};

/// Texts and pictures in one space: two encoders and the heads trained on them. Its folder holds `config.json`, the
/// heads' `model.safetensors`, and the encoders' own folders `text` and `image`.
struct DualEncoder {
  TextEncoder text;
  ImageEncoder image;
  DualHeads heads;

  /// Throws as the loading of the parts does.
  static DualEncoder load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);

  /// f32 [B, size]
  Tensor embed_texts(std::span<const std::string> texts) const { return heads.text(text(texts)); }
  /// f32 [N, size]
  Tensor embed_images(std::span<const std::filesystem::path> files) { return heads.image(image(files)); }
  /// The same of pictures [N, H, W, 3] as `image.preprocess` makes them.
  Tensor embed_images(const Tensor& images) { return heads.image(image(images)); }
};

/// The heads alone, of encoders with these sizes. Throws as `DualEncoder::load` does.
DualHeads load_heads(const std::filesystem::path& folder, std::int64_t text_size, std::int64_t image_size);
/// Writes the folder of a dual encoder whose encoders come from these folders; their files are linked where the file
/// system can, else copied.
void save_dual_encoder(DualHeads& heads, const std::filesystem::path& text_model,
                       const std::filesystem::path& image_model, const std::filesystem::path& folder);
/// The same with heads on the features of one CLIP, whose folder becomes `folder/clip`.
void save_dual_encoder(DualHeads& heads, const std::filesystem::path& clip_model, const std::filesystem::path& folder);
/// Writes the heads alone into a folder that `save_dual_encoder` wrote.
void save_heads(DualHeads& heads, const std::filesystem::path& folder);
/// Writes the weights of an encoder that was trained further into its folder, in place of those that are there.
void save_weights(TextEncoder& encoder, const std::filesystem::path& folder);
void save_weights(ImageEncoder& encoder, const std::filesystem::path& folder);

}  // namespace clip
