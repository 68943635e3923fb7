#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <variant>

#include "clip/models/bert.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/text/wordpiece.hpp"

namespace clip {

/// How the states of a text's tokens become one row.
enum class Pooling { cls, mean };

/// Texts to embeddings, as a model folder says: its tokenizer, its BERT or DistilBERT, and, for a sentence encoder
/// (`modules.json`), the folder of its transformer, its pooling and its normalisation. Without that, the state of the
/// first token.
struct TextEncoder {
  WordPiece tokenizer;
  std::variant<Bert, DistilBert> model;
  Pooling pooling = Pooling::cls;
  bool normalize = false;  ///< to length 1
  Device device;

  /// Throws as the loading of the parts does, and on a pooling or a module of another kind.
  static TextEncoder load(const std::filesystem::path& folder, const Device& device = {}, dtype type = dtype::f32);

  /// f32 [B, size]. Texts longer than the model's context are cut. With `random` it drops elements, as in training.
  Tensor operator()(std::span<const std::string> texts, Random* random = nullptr) const;
  Tensor operator()(const Tokens& tokens, Random* random = nullptr) const;
  const BertConfig& config() const;
  void visit(auto&& v) {
    std::visit([&](auto& m) { m.visit(v); }, model);
  }
};

}  // namespace clip
