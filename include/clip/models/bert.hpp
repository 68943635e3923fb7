#pragma once
// BERT (Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2018): embeddings of tokens, then
// transformer layers that normalise after each residual. Tensors have the names of Hugging Face's checkpoints.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "clip/core/activation.hpp"
#include "clip/nn/embedding.hpp"
#include "clip/nn/layer_norm.hpp"
#include "clip/nn/linear.hpp"
#include "clip/text/tokens.hpp"

namespace clip {

/// What a `config.json` says of a BERT or DistilBERT. The defaults are bert-base-uncased's.
struct BertConfig {
  std::int64_t vocab_size = 30522, max_positions = 512, token_types = 2;
  std::int64_t size = 768, feed_forward = 3072, layers = 12, heads = 12;
  Activation activation = Activation::gelu;
  float norm_eps = 1e-12f;
  float dropout = 0.1f;                ///< in training, of embeddings and of what the feed-forward layers add
  float attention_dropout = 0.1f;      ///< of what a token takes from another
  float attention_out_dropout = 0.1f;  ///< of what attention adds; DistilBERT has none

  /// Reads `folder/config.json` of a BERT or DistilBERT. Throws, naming file and key, on what is missing or impossible,
  /// and on variants that compute something else (decoders, relative positions).
  static BertConfig read(const std::filesystem::path& folder);
  /// How many numbers the weights are, without a pooler.
  std::int64_t parameters() const;
};

/// The last hidden states of a batch of texts, packed as their tokens are.
struct HiddenStates {
  Tensor rows;               ///< [T, size]
  Tensor offsets;            ///< i32 [B + 1]: text i has the rows offsets[i] to before offsets[i + 1]
  std::int64_t longest = 0;  ///< no text has more rows; see `AttentionOptions`

  /// The state of each text's first token: [B, size].
  Tensor cls() const;
  /// The mean of each text's states, f32 [B, size]; zeros of a text without tokens.
  Tensor mean() const;
};

/// One layer: x1 = norm(x + attention(x)), y = norm(x1 + down(activation(up(x1)))).
struct BertLayer {
  Linear query, key, value, attention_out;
  LayerNorm attention_norm;
  Linear up, down;
  LayerNorm output_norm;
  std::int64_t heads;
  Activation activation;
  float dropout, attention_dropout, attention_out_dropout;

  BertLayer(const BertConfig& config, Init init)
      : query(config.size, config.size, init),
        key(config.size, config.size, init),
        value(config.size, config.size, init),
        attention_out(config.size, config.size, init),
        attention_norm(config.size, init, config.norm_eps),
        up(config.size, config.feed_forward, init),
        down(config.feed_forward, config.size, init),
        output_norm(config.size, init, config.norm_eps),
        heads(config.heads),
        activation(config.activation),
        dropout(config.dropout),
        attention_dropout(config.attention_dropout),
        attention_out_dropout(config.attention_out_dropout) {}

  /// Rows [T, size] of packed sequences, those of `tokens`. With `random` it drops elements, as in training.
  Tensor operator()(Tensor x, const Tokens& tokens, Random* random = nullptr) const;
  /// Only the first row of each sequence, [S, size]: a fraction of the work.
  Tensor first_rows(const Tensor& x, const Tokens& tokens, Random* random = nullptr) const;

  Tensor finish(const Tensor& context, Tensor x, Random* random) const;  // what follows attention
  void visit(auto&& v) {
    v("attention.self.query", query);
    v("attention.self.key", key);
    v("attention.self.value", value);
    v("attention.output.dense", attention_out);
    v("attention.output.LayerNorm", attention_norm);
    v("intermediate.dense", up);
    v("output.dense", down);
    v("output.LayerNorm", output_norm);
  }
};

/// norm(word + position [+ token type 0]) of each token.
struct BertEmbeddings {
  Embedding word, position;
  std::optional<Embedding> token_type;
  LayerNorm norm;
  float dropout;

  BertEmbeddings(const BertConfig& config, Init init)
      : word(config.vocab_size, config.size, init),
        position(config.max_positions, config.size, init),
        norm(config.size, init, config.norm_eps),
        dropout(config.dropout) {
    if (config.token_types > 0) token_type.emplace(config.token_types, config.size, init);
  }

  /// [T, size]. Throws when a text has more tokens than there are positions, or a token is not in the vocabulary.
  Tensor operator()(const Tokens& tokens, Random* random = nullptr) const;

  void visit(auto&& v) {
    v("word_embeddings", word);
    v("position_embeddings", position);
    v("token_type_embeddings", token_type);
    v("LayerNorm", norm);
  }
};

struct Bert {
  BertConfig config;
  BertEmbeddings embeddings;
  std::vector<BertLayer> layers;
  std::optional<Linear> pooler;

  Bert(const BertConfig& c, Init init);
  /// A model from a folder in the Hugging Face layout. Throws as `BertConfig::read`, `SafeTensors::open` and the strict
  /// `load` do.
  static Bert load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);

  /// With `random` it drops elements, as in training. Throws when a text has more tokens than the model has positions,
  /// or a token is not in its vocabulary.
  HiddenStates operator()(const Tokens& tokens, Random* random = nullptr) const;
  /// The state of each text's first token, [B, size]: all that the last layer computes here.
  Tensor cls(const Tokens& tokens, Random* random = nullptr) const;

  void visit(auto&& v) {
    v("embeddings", embeddings);
    v("encoder.layer", layers);
    v("pooler.dense", pooler);
  }
};

}  // namespace clip
