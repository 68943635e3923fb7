#pragma once
#include <filesystem>
#include <span>

#include "clip/image/preprocess.hpp"
#include "clip/models/resnet.hpp"

namespace clip {

/// Whether a model folder holds weights, in whatever format.
bool has_weights(const std::filesystem::path& folder);

/// Pictures to embeddings, as a model folder says: its preprocessing and its ResNet.
struct ImageEncoder {
  Preprocessor preprocess;
  ResNet model;
  Device device;

  /// For inference: its normalisations folded. Throws as the loading of the parts does.
  static ImageEncoder load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);
  /// To be trained: in f32, its normalisations apart; new, at random, where the folder has no weights.
  static ImageEncoder load_to_train(const std::filesystem::path& folder, const Device& device, Random& random);

  /// f32 [N, size] of pictures [N, H, W, 3] as `preprocess` makes them.
  Tensor operator()(const Tensor& images, Mode mode = Mode::inference);
  Tensor operator()(std::span<const std::filesystem::path> files) { return (*this)(preprocess(files)); }
  std::int64_t size() const { return model.config.widths.back(); }
  void visit(auto&& v) { model.visit(v); }
};

}  // namespace clip
