#pragma once
// What a model folder says about its CLIP tokenizer.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "src/text/bpe.hpp"
#include "src/text/clip_characters.hpp"

namespace clip {

struct ClipTokenizerFiles {
  /// A special token that may stand in a text.
  struct Literal {
    std::string text;
    std::int32_t id;
    bool normalized;  ///< looked for in the lower-cased text
  };

  ClipPipeline pipeline = ClipPipeline::huggingface;
  Bpe bpe;
  std::vector<Literal> literals;
  std::int32_t begin = 0, end = 0, pad = 0;
  std::int64_t vocab_size = 0, max_length = 0;
};

/// Throws as `ClipTokenizer::load` does.
ClipTokenizerFiles read_clip_tokenizer(const std::filesystem::path& folder);

}  // namespace clip
