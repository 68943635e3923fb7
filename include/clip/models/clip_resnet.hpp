#pragma once
// The ResNets of OpenAI's CLIP: three convolutions at the start, average pooling in place of strides, and attention in
// place of the last pooling. Tensors have OpenAI's names, without `visual.`.
#include <cstdint>
#include <optional>
#include <vector>

#include "clip/nn/conv_norm.hpp"
#include "clip/nn/linear.hpp"

namespace clip {

/// The defaults are RN50's.
struct ClipResNetConfig {
  std::vector<std::int64_t> depths = {3, 4, 6, 3};
  std::int64_t width = 64;  ///< channels after the start; the last stage has 32 times as many
  std::int64_t heads = 32;
  std::int64_t image_size = 224;  ///< a multiple of 32

  std::int64_t channels() const { return width * 32; }
  std::int64_t positions() const { return (image_size / 32) * (image_size / 32) + 1; }
  std::int64_t parameters(std::int64_t out) const;  // with running statistics
};

/// relu(third(pool(second(first(x)))) + shortcut(pool(x)))
struct ClipResNetBlock {
  ConvNorm first, second, third;
  std::optional<ConvNorm> shortcut;
  std::int64_t stride;

  ClipResNetBlock(std::int64_t in, std::int64_t inner, std::int64_t step, Init init);
  Tensor operator()(const Tensor& x) const;
  void visit(auto&& v) {
    v("conv1", first.conv);
    v("bn1", first.norm);
    v("conv2", second.conv);
    v("bn2", second.norm);
    v("conv3", third.conv);
    v("bn3", third.norm);
    if (shortcut) {
      v("downsample.0", shortcut->conv);
      v("downsample.1", shortcut->norm);
    }
  }
};

/// Attention of the mean of all positions to it and to them.
struct AttentionPool {
  Tensor position;  ///< [1 + positions, channels]
  Linear query, key, value, out;
  std::int64_t heads;

  AttentionPool(const ClipResNetConfig& config, std::int64_t size, Init init);
  /// [N, H, W, channels] to [N, size]
  Tensor operator()(const Tensor& x) const;
  void visit(auto&& v) {
    v("positional_embedding", position);
    v("q_proj", query);
    v("k_proj", key);
    v("v_proj", value);
    v("c_proj", out);
  }
};

struct ClipResNet {
  std::int64_t image_size;
  ConvNorm stem1, stem2, stem3;
  std::vector<std::vector<ClipResNetBlock>> stages;
  AttentionPool pool;

  ClipResNet(const ClipResNetConfig& config, std::int64_t size, Init init);
  /// [N, size] of images [N, H, W, 3], with the running statistics of its normalisations. Throws on other shapes.
  Tensor operator()(const Tensor& images) const;
  void visit(auto&& v) {
    v("conv1", stem1.conv);
    v("bn1", stem1.norm);
    v("conv2", stem2.conv);
    v("bn2", stem2.norm);
    v("conv3", stem3.conv);
    v("bn3", stem3.norm);
    for (std::size_t i = 0; i < stages.size(); ++i) v("layer" + std::to_string(i + 1), stages[i]);
    v("attnpool", pool);
  }
};

}  // namespace clip
