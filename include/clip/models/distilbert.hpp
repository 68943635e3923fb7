#pragma once
// DistilBERT (Sanh et al., "DistilBERT, a distilled version of BERT", 2019): BERT's layers under other names, without
// token types and pooler.
#include <filesystem>
#include <vector>

#include "clip/models/bert.hpp"

namespace clip {

struct DistilBertLayer : BertLayer {
  using BertLayer::BertLayer;
  void visit(auto&& v) {
    v("attention.q_lin", query);
    v("attention.k_lin", key);
    v("attention.v_lin", value);
    v("attention.out_lin", attention_out);
    v("sa_layer_norm", attention_norm);
    v("ffn.lin1", up);
    v("ffn.lin2", down);
    v("output_layer_norm", output_norm);
  }
};

struct DistilBert {
  BertConfig config;
  BertEmbeddings embeddings;
  std::vector<DistilBertLayer> layers;

  DistilBert(const BertConfig& c, Init init) : config(c), embeddings(c, init) {
    for (std::int64_t i = 0; i < c.layers; ++i) layers.emplace_back(c, init);
  }
  /// A model from a folder in the Hugging Face layout. Throws as `BertConfig::read`, `SafeTensors::open` and the strict
  /// `load` do.
  static DistilBert load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);

  /// With `random` it drops elements, as in training. Throws when a text has more tokens than the model has positions,
  /// or a token is not in its vocabulary.
  HiddenStates operator()(const Tokens& tokens, Random* random = nullptr) const;
  /// The state of each text's first token, [B, size]: all that the last layer computes here.
  Tensor cls(const Tokens& tokens, Random* random = nullptr) const;

  void visit(auto&& v) {
    v("embeddings", embeddings);
    v("transformer.layer", layers);
  }
};

}  // namespace clip
