#pragma once
// What becomes of each code point in a BERT tokenizer: cleaned, decomposed, lowered, and whether it splits words.
#include <cstdint>
#include <vector>

namespace clip {

struct BertOptions {
  bool lower_case = true;
  bool strip_accents = true;  ///< decompose and drop nonspacing marks
  bool split_chinese = true;  ///< a word for each Chinese character
};

/// One code point, normalised: what it is to the words around it, and what it becomes.
class BertCharacter {
 public:
  enum Kind : std::uint8_t {
    word,     ///< belongs to a word
    alone,    ///< a word by itself
    space,    ///< ends a word
    removed,  ///< as if it were not there
    parts,    ///< rare: see `BertCharacters::parts`
  };
  constexpr BertCharacter() = default;
  constexpr BertCharacter(Kind kind, char32_t code) : bits_(std::uint32_t{kind} << 24 | code) {}
  constexpr Kind kind() const { return static_cast<Kind>(bits_ >> 24); }
  constexpr char32_t code() const { return bits_ & 0xffffff; }

 private:
  std::uint32_t bits_ = 0;
};

/// The table of all code points. Reading it costs one memory access.
class BertCharacters {
 public:
  explicit BertCharacters(const BertOptions& options);

  BertCharacter operator[](char32_t code) const { return table_[code]; }

  /// A character of a word and its place among combining marks; 0: it starts anew, and nothing moves across it.
  struct Part {
    char32_t code;  ///< 0: nothing, but it starts anew
    int rank;
  };
  /// What a code point of kind `parts` becomes: `out` gets at most three; returns how many.
  int parts(char32_t code, Part (&out)[3]) const;

 private:
  std::vector<BertCharacter> table_;
};

}  // namespace clip
