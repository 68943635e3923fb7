#pragma once
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "clip/text/tokens.hpp"

namespace clip {

struct ClipTokenizeOptions {
  bool truncate = false;  ///< cut longer texts, and put the end token last, instead of throwing
  Device device = {};     ///< where the tokens go
};

/// CLIP's tokenizer (Radford et al., "Learning transferable visual models from natural language supervision", 2021):
/// lower-cased texts, byte-pair encoded. Each text becomes begin … end. The ids are those of one of two references,
/// which differ in how they clean texts that are not plain: transformers', or, where `tokenizer_config.json` has
/// `"pipeline": "openai"`, those of OpenAI and open_clip, but for ftfy's repairs of broken encodings (docs/clip.md).
class ClipTokenizer {
 public:
  /// Reads a model folder: vocab.json and merges.txt, or tokenizer.json where they are not; and what
  /// tokenizer_config.json, special_tokens_map.json and config.json say about special tokens and the context. Throws on
  /// what is missing or wrong in them, and on settings it cannot follow exactly.
  static ClipTokenizer load(const std::filesystem::path& folder);

  /// Throws, with the number of the text counted from 1, on one that is not valid UTF-8 or, unless `truncate`, has more
  /// tokens than the context. Uses all threads for large batches.
  Tokens encode(std::span<const std::string> texts, const ClipTokenizeOptions& options = {}) const;
  Tokens encode(std::initializer_list<std::string> texts, const ClipTokenizeOptions& options = {}) const {
    return encode(std::span(texts.begin(), texts.size()), options);
  }
  /// The indices of the texts that `truncate` would cut.
  std::vector<std::size_t> too_long(std::span<const std::string> texts) const;

  /// What stands behind shorter texts in a rectangle (`Tokens::padded`): transformers pads with the end token, unless
  /// the folder says otherwise, OpenAI with 0.
  std::int32_t pad_id() const;
  std::int32_t begin_id() const;
  std::int32_t end_id() const;
  /// Rows an embedding needs: one more than the largest id.
  std::int64_t vocab_size() const;
  /// The context: the most tokens the model takes, begin and end included. 77 where the folder does not say.
  std::int64_t max_length() const;

 private:
  struct Model;
  explicit ClipTokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  std::shared_ptr<const Model> model_;
};

}  // namespace clip
