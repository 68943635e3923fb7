#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "clip/image/preprocess.hpp"
#include "clip/models/clip.hpp"
#include "clip/text/clip_tokenizer.hpp"

namespace clip {

/// Texts and pictures in CLIP's space, as a model folder says: its tokenizer, its preprocessing and its model.
struct ClipEncoder {
  ClipTokenizer tokenizer;
  Preprocessor preprocess;
  Clip model;
  Device device;

  /// Throws as the loading of the parts does, and when they do not fit together.
  static ClipEncoder load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);
  /// Whether a folder holds a CLIP.
  static bool is_in(const std::filesystem::path& folder);

  /// f32 [B, size], rows of length 1. Throws as `ClipTokenizer::encode` does on texts longer than the context, unless
  /// they may be cut.
  Tensor embed_texts(std::span<const std::string> texts, bool truncate = false) const;
  /// f32 [N, size], rows of length 1.
  Tensor embed_images(std::span<const std::filesystem::path> files) const { return embed_images(preprocess(files)); }
  /// The same of pictures [N, H, W, 3] as `preprocess` makes them. Differentiable to them.
  Tensor embed_images(const Tensor& images) const;
  std::int64_t size() const { return model.config.projection; }
};

/// Writes the folder of a CLIP that was trained further: these weights, and the other files of the folder `from`,
/// linked where the file system can, else copied. In a folder that holds a CLIP already only the weights are replaced;
/// throws where it holds anything else.
void save_clip(Clip& model, const std::filesystem::path& from, const std::filesystem::path& folder);

/// How well each picture fits its text, f32 [N]: 100 max(cos, 0), as torchmetrics' CLIPScore (Hessel et al.,
/// "CLIPScore", 2021, but with their 2.5 as 100). Of rows of length 1, as `ClipEncoder` gives them.
Tensor clip_score(const Tensor& image_rows, const Tensor& text_rows);
/// The same of as many pictures as texts. Throws as embedding them does.
Tensor clip_score(const ClipEncoder& encoder, std::span<const std::filesystem::path> images,
                  std::span<const std::string> texts, bool truncate = false);

}  // namespace clip
