#pragma once
// ResNet (He et al., "Deep Residual Learning for Image Recognition", 2015) in its usual variant "v1.5", whose
// bottleneck blocks stride in their 3x3 convolution. Tensors have torchvision's names.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "clip/nn/conv_norm.hpp"
#include "clip/nn/linear.hpp"

namespace clip {

/// What a `config.json` says of a ResNet; the keys are Hugging Face's. The defaults are ResNet50's.
struct ResNetConfig {
  bool bottleneck = true;                                     ///< `layer_type`: bottleneck, or basic
  std::vector<std::int64_t> depths = {3, 4, 6, 3};            ///< blocks of each stage
  std::vector<std::int64_t> widths = {256, 512, 1024, 2048};  ///< `hidden_sizes`: channels that each stage gives
  std::int64_t stem = 64;                                     ///< `embedding_size`: channels of the first convolution
  std::int64_t channels = 3;                                  ///< `num_channels`: of the images
  std::int64_t reduction = 4;  ///< `reduction`: a bottleneck has its stage's channels divided by this; 2 is "wide"
  bool mirrored = false;     ///< `mirrored`: in inference, features are the mean of a picture's and its mirror image's
  std::int64_t classes = 0;  ///< of the classifier; 0 without one. Not in `config.json`: the weights tell

  /// Reads `folder/config.json`. Throws, naming file and key, on what is missing or impossible, and on variants that
  /// compute something else.
  static ResNetConfig read(const std::filesystem::path& folder);
  /// How many numbers the weights are, with the running statistics.
  std::int64_t parameters() const;
};

/// relu(convolutions(x) + shortcut(x)): 3x3, 3x3 in a basic block, 1x1, 3x3, 1x1 in a bottleneck. The shortcut is a 1x1
/// convolution where the shape changes, else x itself.
struct ResNetBlock {
  ConvNorm first, second;
  std::optional<ConvNorm> third, shortcut;

  ResNetBlock(const ResNetConfig& config, std::int64_t in, std::int64_t out, std::int64_t stride, Init init);
  Tensor operator()(Tensor x, Mode mode);
  void fold();
  void visit(auto&& v) {
    v("conv1", first.conv);
    v("bn1", first.norm);
    v("conv2", second.conv);
    v("bn2", second.norm);
    if (third) {
      v("conv3", third->conv);
      v("bn3", third->norm);
    }
    if (shortcut) {
      v("downsample.0", shortcut->conv);
      v("downsample.1", shortcut->norm);
    }
  }
};

struct ResNet {
  ResNetConfig config;
  ConvNorm stem;
  std::vector<std::vector<ResNetBlock>> stages;
  std::optional<Linear> classifier;

  ResNet(const ResNetConfig& c, Init init);
  /// A model from a folder with `config.json` and weights, in f32, its normalisations apart as they are trained. Throws
  /// as `ResNetConfig::read`, `SafeTensors::open` and the strict `load` do.
  static ResNet load(const std::filesystem::path& folder, const Device& device = {});

  /// A copy for inference, its normalisations folded into the convolutions (computed in f32, then converted).
  ResNet folded(dtype type = dtype::f32) const;

  /// Features of images [N, H, W, channels], f32 or the model's dtype: [N, channels of the last stage], their mean over
  /// positions, and in inference, where `mirrored`, of the mirror images too: a better guess, at twice the price, of a
  /// model that was trained on both. Throws on other shapes, and in training once folded.
  Tensor operator()(const Tensor& images, Mode mode = Mode::inference);
  /// Scores of the classes: [N, classes]. Throws when the model has no classifier.
  Tensor logits(const Tensor& images, Mode mode = Mode::inference);

  void visit(auto&& v) {
    v("conv1", stem.conv);
    v("bn1", stem.norm);
    for (std::size_t i = 0; i < stages.size(); ++i) v("layer" + std::to_string(i + 1), stages[i]);
    v("fc", classifier);
  }
};

}  // namespace clip
