#pragma once
// CLIP (Radford et al., "Learning transferable visual models from natural language supervision", 2021): a text and a
// vision transformer that normalise before each part, or OpenAI's modified ResNet, into one space. Tensors have the
// names of Hugging Face's checkpoints.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "clip/core/activation.hpp"
#include "clip/models/clip_resnet.hpp"
#include "clip/nn/embedding.hpp"
#include "clip/nn/layer_norm.hpp"
#include "clip/nn/linear.hpp"
#include "clip/text/tokens.hpp"

namespace clip {

/// One of CLIP's transformers.
struct ClipTower {
  std::int64_t size = 512, feed_forward = 2048, layers = 12, heads = 8;
  Activation activation = Activation::quick_gelu;
  float norm_eps = 1e-5f;

  std::int64_t parameters() const;  // of its layers
};

/// What a `config.json` says of a CLIP. The defaults are ViT-B/32's, and Hugging Face's for keys that are missing.
struct ClipConfig {
  ClipTower text = {};
  ClipTower vision = {.size = 768, .feed_forward = 3072, .heads = 12};
  std::int64_t vocab_size = 49408, context = 77;
  std::int64_t end_id = 49407;  ///< a text's feature is taken where this token is first; 2: where its largest id is
  std::int64_t image_size = 224, patch = 32, channels = 3;
  std::int64_t projection = 512;  ///< size of the space
  /// Of the vision tower, where it is a ResNet: `vision_config`'s `model_type` is then `clip_resnet`.
  std::optional<ClipResNetConfig> resnet = {};

  /// Reads `folder/config.json` of a CLIPModel. Throws, naming file and key, on what is impossible, and on variants
  /// that compute something else.
  static ClipConfig read(const std::filesystem::path& folder);
  /// Positions of the vision transformer: the class token and the patches.
  std::int64_t positions() const { return (image_size / patch) * (image_size / patch) + 1; }
  /// How many numbers the weights are.
  std::int64_t parameters() const;
};

/// One layer: x1 = x + attention(norm1(x)), y = x1 + fc2(activation(fc1(norm2(x1)))).
struct ClipLayer {
  Linear query, key, value, attention_out;
  LayerNorm attention_norm;
  Linear up, down;
  LayerNorm feed_forward_norm;
  std::int64_t heads;
  Activation activation;

  ClipLayer(const ClipTower& tower, Init init)
      : query(tower.size, tower.size, init),
        key(tower.size, tower.size, init),
        value(tower.size, tower.size, init),
        attention_out(tower.size, tower.size, init),
        attention_norm(tower.size, init, tower.norm_eps),
        up(tower.size, tower.feed_forward, init),
        down(tower.feed_forward, tower.size, init),
        feed_forward_norm(tower.size, init, tower.norm_eps),
        heads(tower.heads),
        activation(tower.activation) {}

  /// Of pictures [N, L, size], each row with all of its picture's; or, with `texts`, of packed texts [T, size], each
  /// row with those of its text up to itself.
  Tensor operator()(Tensor x, const Tokens& texts = {}) const;
  /// Only one row of each sequence, [S, size]: its first of [N, L, size], its end of packed texts.
  Tensor pooled_row(const Tensor& x, const Tokens& texts = {}) const;

  Tensor finish(const Tensor& context, Tensor x) const;  // what follows attention
  void visit(auto&& v) {
    v("self_attn.q_proj", query);
    v("self_attn.k_proj", key);
    v("self_attn.v_proj", value);
    v("self_attn.out_proj", attention_out);
    v("layer_norm1", attention_norm);
    v("mlp.fc1", up);
    v("mlp.fc2", down);
    v("layer_norm2", feed_forward_norm);
  }
};

struct ClipText {
  std::int64_t end_id;
  Embedding token, position;
  std::vector<ClipLayer> layers;
  LayerNorm final_norm;

  ClipText(const ClipConfig& config, Init init);
  /// The state of each text's end token, [B, size]. What follows that token is not computed: nothing before sees it.
  /// Texts that were not cut before are, which waits for tokens on a GPU. Throws when a text has more tokens than the
  /// context, one that is not in the vocabulary, or no end token.
  Tensor operator()(const Tokens& tokens) const;
  /// [T, size] of each token and its position.
  Tensor embed(const Tokens& tokens) const;
  /// The texts, from any device, up to their end tokens, on `device`.
  Tokens cut(const Tokens& tokens, const Device& device) const;
  void visit(auto&& v) {
    v("embeddings.token_embedding", token);
    v("embeddings.position_embedding", position);
    v("encoder.layers", layers);
    v("final_layer_norm", final_norm);
  }
};

struct ClipVision {
  std::int64_t image_size, patch;
  Tensor class_embedding;  ///< [size]
  Tensor patches;          ///< [size, channels, patch, patch]
  Embedding position;
  LayerNorm pre_norm;
  std::vector<ClipLayer> layers;
  LayerNorm post_norm;

  ClipVision(const ClipConfig& config, Init init);
  /// The state of the class token, [N, size], of images [N, H, W, channels]. Throws on other shapes.
  Tensor operator()(const Tensor& images) const;
  /// [N, 1 + patches, size]
  Tensor embed(const Tensor& images) const;
  void visit(auto&& v) {
    v("embeddings.class_embedding", class_embedding);
    v("embeddings.patch_embedding.weight", patches);
    v("embeddings.position_embedding", position);
    v("pre_layrnorm", pre_norm);  // sic
    v("encoder.layers", layers);
    v("post_layernorm", post_norm);
  }
};

struct Clip {
  ClipConfig config;
  ClipText text;
  std::optional<ClipVision> vision;  ///< this
  std::optional<ClipResNet> resnet;  ///< or that
  Tensor text_projection;            ///< [projection, size]
  Tensor visual_projection;          ///< the same; a ResNet has its own
  Tensor logit_scale;                ///< logarithm of the scale of cosines, a scalar, f32

  Clip(const ClipConfig& c, Init init);
  /// A model from a folder in the Hugging Face layout. Throws as `ClipConfig::read`, `SafeTensors::open` and the strict
  /// `load` do.
  static Clip load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);

  /// f32 [B, projection], not of length 1. Throws as `ClipText` does.
  Tensor embed_texts(const Tokens& tokens) const;
  /// f32 [N, projection], not of length 1, of images [N, H, W, channels] as the folder's preprocessing makes them.
  /// Differentiable to them. Throws on other shapes.
  Tensor embed_images(const Tensor& images) const;

  void visit(auto&& v) {
    v("logit_scale", logit_scale);
    v("text_model", text);
    v("vision_model", vision);
    v("vision_model", resnet);
    v("visual_projection.weight", visual_projection);
    v("text_projection.weight", text_projection);
  }
};

}  // namespace clip
