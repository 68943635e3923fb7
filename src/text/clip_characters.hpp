#pragma once
// What CLIP's tokenizers make of Unicode text before they cut it into pieces.
#include <string>
#include <vector>

#include "src/text/clip_unicode.hpp"

namespace clip {

/// Whose tokens the ids must equal: transformers', or those of OpenAI and open_clip, which also clean texts.
enum class ClipPipeline { huggingface, openai };

/// Categories, Normalization Form C and lower case, as one of the references sees them.
class ClipCharacters {
 public:
  explicit ClipCharacters(ClipPipeline pipeline);

  /// other, letter, number or space
  ClipCategory category(char32_t code) const { return categories_[code]; }
  /// Normalization Form C (Unicode Standard Annex 15).
  void compose(std::u32string& text) const;
  /// Lower case; Python's looks at what surrounds a capital sigma.
  void lower(std::u32string& text) const;

 private:
  struct Pair {
    char32_t first, second, composed;
  };
  int combining_class(char32_t code) const;
  const ClipDecomposition* decomposition(char32_t code) const;
  char32_t composed(char32_t first, char32_t second) const;
  void decompose(char32_t code, std::u32string& out) const;
  char32_t lower(char32_t code) const;

  bool python_;
  std::vector<ClipCategory> categories_;  // of all code points
  std::vector<Pair> pairs_;               // sorted
};

}  // namespace clip
