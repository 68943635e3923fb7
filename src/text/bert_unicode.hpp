#pragma once
// Facts about code points as Hugging Face's fast BERT tokenizer sees them, in tables written by
// tests/reference/bert_characters.py. No Unicode library agrees with them: the tokenizers library takes categories from
// Unicode 8, decompositions from Unicode 9 and lower case (Rust's) from Unicode 17.
#include <cstdint>
#include <span>

namespace clip {

enum class BertCategory : std::uint8_t {
  control,        ///< removed: all of C* that Unicode 8 knows but tab, LF and CR; NUL and U+FFFD
  space,          ///< separates words
  chinese,        ///< a word of its own, where Chinese characters are
  punctuation,    ///< a word of its own
  mark,           ///< removed with accents
  starting_mark,  ///< the same, of combining class 0: others don't change places across it
};
struct BertRange {
  char32_t first, last;
  BertCategory category;
};
/// Combining marks that stay when accents go, and so must be put in canonical order.
struct BertMarks {
  char32_t first, last;
  std::uint8_t rank;  ///< in the order of their combining classes
};
/// Every `step`th code point from `first` to `last` has its small letter `distance` further on.
struct BertLower {
  char32_t first, last, step;
  std::int32_t distance;
};
/// What `first` and its neighbours become, one character each, when they are decomposed and accents go.
struct BertStripped {
  char32_t first;
  const char32_t* characters;
};
/// The same for those that become two or three; Hangul syllables, which have a formula, aside.
struct BertParts {
  char32_t code, parts[3];
};

extern const std::span<const BertRange> bert_ranges;
extern const std::span<const BertMarks> bert_marks;
extern const std::span<const BertLower> bert_lower;
extern const std::span<const BertStripped> bert_stripped;
extern const std::span<const BertParts> bert_parts;

}  // namespace clip
