#include "src/text/bert_characters.hpp"

#include <algorithm>
#include <numeric>

#include "src/text/bert_unicode.hpp"

namespace clip {
namespace {

constexpr char32_t code_points = 0x110000;
constexpr char32_t first_syllable = 0xac00, syllables = 11172;  // Hangul
constexpr char32_t dotted_capital_i = 0x130;                    // the only one with two small characters: i and a dot

bool is_syllable(char32_t code) { return code >= first_syllable && code < first_syllable + syllables; }

/// The entry of a table sorted by its first code points that may hold `code`.
template <class Entry>
const Entry* find(std::span<const Entry> table, char32_t code) {
  const auto next = std::upper_bound(table.begin(), table.end(), code,
                                     [](char32_t c, const Entry& entry) { return c < entry.first; });
  return next == table.begin() ? nullptr : &next[-1];
}

int rank_of(char32_t code) {
  const BertMarks* marks = find(bert_marks, code);
  return marks != nullptr && code <= marks->last ? marks->rank : 0;
}

bool is_punctuation(char32_t code) {
  const BertRange* range = find(bert_ranges, code);
  return range != nullptr && code <= range->last && range->category == BertCategory::punctuation;
}

}  // namespace

BertCharacters::BertCharacters(const BertOptions& options) : table_(code_points) {
  // What each becomes: stripped first, then lowered.
  std::vector<char32_t> becomes(code_points);
  std::iota(becomes.begin(), becomes.end(), 0);
  if (options.lower_case)
    for (const BertLower& run : bert_lower)
      for (char32_t c = run.first; c <= run.last; c += run.step) becomes[c] += static_cast<char32_t>(run.distance);
  if (options.strip_accents)
    for (const BertStripped& run : bert_stripped)
      for (char32_t i = 0; run.characters[i] != 0; ++i) becomes[run.first + i] = becomes[run.characters[i]];

  for (char32_t c = 0; c < code_points; ++c) table_[c] = {BertCharacter::word, becomes[c]};
  const auto set = [&](char32_t first, char32_t last, BertCharacter::Kind kind) {
    for (char32_t c = first; c <= last; ++c) table_[c] = {kind, becomes[c]};
  };
  if (options.strip_accents) {
    for (const BertStripped& run : bert_stripped)
      for (char32_t i = 0; run.characters[i] != 0; ++i)
        if (is_punctuation(run.characters[i])) set(run.first + i, run.first + i, BertCharacter::alone);
    for (const BertMarks& marks : bert_marks) set(marks.first, marks.last, BertCharacter::parts);
    for (const BertParts& entry : bert_parts) set(entry.code, entry.code, BertCharacter::parts);
    set(first_syllable, first_syllable + syllables - 1, BertCharacter::parts);
  } else if (options.lower_case) {
    set(dotted_capital_i, dotted_capital_i, BertCharacter::parts);
  }
  for (const BertRange& range : bert_ranges) {
    const auto make = [&](BertCharacter::Kind kind) { set(range.first, range.last, kind); };
    switch (range.category) {
      case BertCategory::control: make(BertCharacter::removed); break;
      case BertCategory::space: make(BertCharacter::space); break;
      case BertCategory::punctuation: make(BertCharacter::alone); break;
      case BertCategory::chinese:
        if (options.split_chinese) make(BertCharacter::alone);
        break;
      case BertCategory::mark:
        if (options.strip_accents) make(BertCharacter::removed);
        break;
      case BertCategory::starting_mark:
        if (options.strip_accents) make(BertCharacter::parts);
        break;
    }
  }
}

int BertCharacters::parts(char32_t code, Part (&out)[3]) const {
  if (is_syllable(code)) {
    const char32_t index = code - first_syllable;
    out[0] = {0x1100 + index / 588, 0};
    out[1] = {0x1161 + index / 28 % 21, 0};
    out[2] = {0x11a7 + index % 28, 0};
    return index % 28 == 0 ? 2 : 3;
  }
  if (code == dotted_capital_i) {
    out[0] = {'i', 0};
    out[1] = {0x307, 0};
    return 2;
  }
  if (const int rank = rank_of(code); rank != 0) {
    out[0] = {table_[code].code(), rank};
    return 1;
  }
  const auto entry = std::lower_bound(bert_parts.begin(), bert_parts.end(), code,
                                      [](const BertParts& e, char32_t c) { return e.code < c; });
  if (entry == bert_parts.end() || entry->code != code) {  // a starting mark
    out[0] = {0, 0};
    return 1;
  }
  int count = 0;
  for (; count < 3 && entry->parts[count] != 0; ++count) {
    const char32_t part = entry->parts[count];
    out[count] = {table_[part].code(), rank_of(part)};
  }
  return count;
}

}  // namespace clip
