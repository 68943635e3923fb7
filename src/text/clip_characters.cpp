#include "src/text/clip_characters.hpp"

#include <algorithm>
#include <span>
#include <tuple>

#include "src/text/bert_unicode.hpp"

namespace clip {
namespace {

constexpr char32_t code_points = 0x110000, first_composable = 0x300;
constexpr char32_t dotted_capital_i = 0x130, dot_above = 0x307, capital_sigma = 0x3a3, final_sigma = 0x3c2;
// Hangul syllables and the letters they are made of
constexpr char32_t syllable = 0xac00, leading = 0x1100, vowel = 0x1161, trailing = 0x11a7;
constexpr char32_t leadings = 19, vowels = 21, trailings = 28, syllables = leadings * vowels * trailings;

/// The entry of a table of ranges sorted by `first` that holds `code`, or null.
template <class Entry>
const Entry* find(std::span<const Entry> table, char32_t code) {
  const auto next = std::upper_bound(table.begin(), table.end(), code,
                                     [](char32_t c, const Entry& entry) { return c < entry.first; });
  return next == table.begin() || code > next[-1].last ? nullptr : &next[-1];
}

ClipCasing casing(char32_t code) {
  const ClipCasingRange* range = find(clip_casing, code);
  return range == nullptr ? ClipCasing::none : range->casing;
}

}  // namespace

ClipCharacters::ClipCharacters(ClipPipeline pipeline)
    : python_(pipeline == ClipPipeline::openai), categories_(code_points, ClipCategory::other) {
  for (const ClipRange& range : clip_ranges) {
    ClipCategory category = range.category;
    if (category == ClipCategory::new_letter) category = python_ ? ClipCategory::letter : ClipCategory::other;
    if (category == ClipCategory::new_number) category = python_ ? ClipCategory::number : ClipCategory::other;
    if (category == ClipCategory::skipped) category = python_ ? ClipCategory::space : ClipCategory::other;
    std::fill(categories_.begin() + range.first, categories_.begin() + range.last + 1, category);
  }
  for (const ClipDecomposition& d : clip_decompositions)
    if (d.how == 1 || (d.how == 2 && python_)) pairs_.push_back({d.parts[0], d.parts[1], d.code});
  std::sort(pairs_.begin(), pairs_.end(),
            [](const Pair& a, const Pair& b) { return std::tie(a.first, a.second) < std::tie(b.first, b.second); });
}

int ClipCharacters::combining_class(char32_t code) const {
  if (code < first_composable) return 0;
  const ClipMarks* marks = find(clip_marks, code);
  return marks == nullptr || (marks->newer != 0 && !python_) ? 0 : marks->combining_class;
}

const ClipDecomposition* ClipCharacters::decomposition(char32_t code) const {
  const auto found = std::lower_bound(clip_decompositions.begin(), clip_decompositions.end(), code,
                                      [](const ClipDecomposition& d, char32_t c) { return d.code < c; });
  if (found == clip_decompositions.end() || found->code != code || (found->how == 2 && !python_)) return nullptr;
  return &*found;
}

char32_t ClipCharacters::composed(char32_t first, char32_t second) const {
  if (first >= leading && first < leading + leadings && second >= vowel && second < vowel + vowels)
    return syllable + ((first - leading) * vowels + (second - vowel)) * trailings;
  if (first >= syllable && first < syllable + syllables && (first - syllable) % trailings == 0 && second > trailing &&
      second < trailing + trailings)
    return first + (second - trailing);
  const auto found = std::lower_bound(pairs_.begin(), pairs_.end(), std::tie(first, second),
                                      [](const Pair& p, const auto& key) { return std::tie(p.first, p.second) < key; });
  return found != pairs_.end() && found->first == first && found->second == second ? found->composed : 0;
}

void ClipCharacters::decompose(char32_t code, std::u32string& out) const {
  if (code >= syllable && code < syllable + syllables) {
    const char32_t index = code - syllable;
    out.push_back(leading + index / (vowels * trailings));
    out.push_back(vowel + index / trailings % vowels);
    if (index % trailings != 0) out.push_back(trailing + index % trailings);
    return;
  }
  const ClipDecomposition* d = code < 0xc0 ? nullptr : decomposition(code);
  if (d == nullptr) {
    out += code;
    return;
  }
  for (const char32_t part : d->parts)
    if (part != 0) decompose(part, out);
}

void ClipCharacters::compose(std::u32string& text) const {
  if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < first_composable; })) return;
  std::u32string apart;
  apart.reserve(text.size());
  for (const char32_t code : text) decompose(code, apart);

  struct Mark {
    char32_t code;
    int rank;
  };
  std::vector<Mark> marks;  // a run of them, to be put in order
  text.clear();
  std::size_t starter = std::u32string::npos;
  int before = 0;  // the class of the last mark kept behind the starter
  const auto keep = [&](char32_t code, int rank) {
    const bool next = starter + 1 == text.size() && starter != std::u32string::npos;
    if (starter != std::u32string::npos && (next || before < rank))
      if (const char32_t both = composed(text[starter], code); both != 0) {
        text[starter] = both;
        return;
      }
    if (rank == 0) starter = text.size();
    before = rank;
    text += code;
  };
  const auto keep_marks = [&] {
    std::stable_sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.rank < b.rank; });
    for (const Mark& mark : marks) keep(mark.code, mark.rank);
    marks.clear();
  };
  for (const char32_t code : apart) {
    if (const int rank = combining_class(code); rank != 0) {
      marks.push_back({code, rank});
      continue;
    }
    keep_marks();
    keep(code, 0);
  }
  keep_marks();
}

char32_t ClipCharacters::lower(char32_t code) const {
  if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code;
  const BertLower* run = find(bert_lower, code);
  if (run == nullptr || (code - run->first) % run->step != 0) return code;
  if (python_ && find(clip_kept, code) != nullptr) return code;
  return code + static_cast<char32_t>(run->distance);
}

void ClipCharacters::lower(std::u32string& text) const {
  if (std::find_if(text.begin(), text.end(), [](char32_t c) { return c >= 0x80; }) == text.end()) {
    for (char32_t& code : text) code = lower(code);
    return;
  }
  std::u32string out;
  out.reserve(text.size());
  bool after_cased = false;                  // ignorable characters aside
  std::size_t sigma = std::u32string::npos;  // one that is final unless a cased letter follows
  for (const char32_t code : text) {
    const ClipCasing kind = python_ ? casing(code) : ClipCasing::none;
    if (kind != ClipCasing::ignorable && sigma != std::u32string::npos) {
      if (kind != ClipCasing::cased) out[sigma] = final_sigma;
      sigma = std::u32string::npos;
    }
    if (python_ && code == capital_sigma && after_cased) sigma = out.size();
    if (kind != ClipCasing::ignorable) after_cased = kind == ClipCasing::cased;
    if (code == dotted_capital_i) {
      out += U'i';
      out += dot_above;
    } else {
      out += lower(code);
    }
  }
  if (sigma != std::u32string::npos) out[sigma] = final_sigma;
  text = std::move(out);
}

}  // namespace clip
