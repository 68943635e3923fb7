#pragma once
// Facts about code points as CLIP's reference tokenizers see them, in tables written by
// tests/reference/clip_characters.py. Two follow different versions of Unicode: the tokenizers library (transformers),
// and Python with its modules regex, unicodedata and ftfy (OpenAI, open_clip).
#include <cstdint>
#include <span>

namespace clip {

enum class ClipCategory : std::uint8_t {
  other,
  letter,
  number,
  space,
  new_letter,  ///< to Python's regex only
  new_number,
  skipped,  ///< by Python's regex, which ignores case and so finds U+0345 neither a letter nor anything else
};
struct ClipRange {
  char32_t first, last;
  ClipCategory category;
};
/// What a capital sigma's neighbours are to it: it is final after a cased letter and not before one, ignorable ones
/// aside.
enum class ClipCasing : std::uint8_t { none, cased, ignorable };
struct ClipCasingRange {
  char32_t first, last;
  ClipCasing casing;
};
/// Capital letters that Python leaves as they are.
struct ClipKept {
  char32_t first, last;
};
struct ClipMarks {
  char32_t first, last;
  std::uint8_t combining_class;
  std::uint8_t newer;  ///< unknown to the tokenizers library, so not one that changes places
};
/// One step of a canonical decomposition; Hangul syllables, which have a formula, aside.
struct ClipDecomposition {
  char32_t code, parts[2];  ///< the second 0 where there is one
  std::uint8_t how;         ///< 0: only taken apart, 1: also put together, 2: both, to Python only
};
/// What ftfy makes of a character: ligatures and widths, quotes, control characters.
struct ClipReplacement {
  char32_t code, becomes[3];
};

extern const std::span<const ClipRange> clip_ranges;
extern const std::span<const ClipCasingRange> clip_casing;
extern const std::span<const ClipKept> clip_kept;
extern const std::span<const ClipMarks> clip_marks;
extern const std::span<const ClipDecomposition> clip_decompositions;
extern const std::span<const ClipReplacement> clip_replacements;

}  // namespace clip
