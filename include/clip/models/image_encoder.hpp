#pragma once
#include <filesystem>
#include <span>

#include "clip/image/preprocess.hpp"
#include "clip/models/resnet.hpp"

namespace clip {

/// Pictures to embeddings, as a model folder says: its preprocessing and its ResNet, folded for inference.
struct ImageEncoder {
  Preprocessor preprocess;
  ResNet model;
  Device device;

  /// Throws as the loading of the parts does.
  static ImageEncoder load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);

  /// f32 [N, size] of pictures [N, H, W, 3] as `preprocess` makes them.
  Tensor operator()(const Tensor& images);
  Tensor operator()(std::span<const std::filesystem::path> files) { return (*this)(preprocess(files)); }
};

}  // namespace clip
