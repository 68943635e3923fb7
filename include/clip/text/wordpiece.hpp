#pragma once
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "clip/text/tokens.hpp"

namespace clip {

struct TokenizeOptions {
  std::int64_t max_length =
      0;               ///< tokens of a text, [CLS] and [SEP] included; 0, or more than the model's: the model's
  Device device = {};  ///< where the tokens go
};

/// BERT's tokenizer (Devlin et al., "BERT", 2018), with the same ids as Hugging Face's fast one on any text: clean up,
/// strip accents and lower as the folder says, split at spaces and punctuation, then cut words greedily into the
/// longest pieces of the vocabulary. A word of more than 100 characters, or with a part that is no piece, is [UNK]. A
/// literal [MASK] or [SEP] in a text stands for itself. Each text becomes [CLS] … [SEP].
class WordPiece {
 public:
  /// Reads a model folder: vocab.txt, or tokenizer.json where there is none; and what tokenizer_config.json,
  /// special_tokens_map.json, sentence_bert_config.json and config.json say about lower case and lengths. Throws on
  /// what is missing or wrong in them, and on settings it cannot follow exactly.
  static WordPiece load(const std::filesystem::path& folder);

  /// Longer texts are cut. Throws, with the number of the text counted from 1, on one that is not valid UTF-8. Uses all
  /// threads for large batches.
  Tokens encode(std::span<const std::string> texts, const TokenizeOptions& options = {}) const;
  Tokens encode(std::initializer_list<std::string> texts, const TokenizeOptions& options = {}) const {
    return encode(std::span(texts.begin(), texts.size()), options);
  }

  std::int32_t pad_id() const;
  /// Rows an embedding needs: one more than the largest id.
  std::int64_t vocab_size() const;
  /// The most tokens the model takes: the least that the folder's files say; 512 where they say nothing.
  std::int64_t max_length() const;

 private:
  struct Model;
  explicit WordPiece(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  std::shared_ptr<const Model> model_;
};

}  // namespace clip
