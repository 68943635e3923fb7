#pragma once
// What a model folder says about its WordPiece tokenizer.
#include <cstdint>
#include <filesystem>

#include "src/text/bert_characters.hpp"
#include "src/text/trie.hpp"

namespace clip {

struct WordPieceFiles {
  Trie starts;         ///< pieces that start a word
  Trie continuations;  ///< pieces that go on with one, without their ##
  Trie literals;       ///< special tokens that may stand in a text
  std::int32_t unknown = 0, begin = 0, end = 0, pad = 0;
  std::int64_t vocab_size = 0, max_length = 0;
  BertOptions options;
};

/// Throws as `WordPiece::load` does.
WordPieceFiles read_wordpiece(const std::filesystem::path& folder);

}  // namespace clip
