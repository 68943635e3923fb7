#include "src/text/clean_text.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "src/text/html_entities.hpp"
#include "src/text/utf8.hpp"

namespace clip {
namespace {

using Text = std::u32string;
using View = std::u32string_view;

constexpr char32_t escape = 0x1b, greek_question_mark = 0x37e, replacement_character = 0xfffd;
constexpr std::size_t longest_entity = 24;          // letters and digits, to ftfy
constexpr std::size_t longest_name = 32;            // to html.unescape
constexpr std::size_t longest_segment = 1'000'000;  // what ftfy looks at together

// What HTML takes 0x80 to 0x9f for.
constexpr std::array<char32_t, 32> windows_1252 = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
                                                   0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0x8d,   0x17d,  0x8f,
                                                   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                                   0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
int hex_digit(char32_t c) {
  if (is_digit(c)) return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  return c >= 'A' && c <= 'F' ? static_cast<int>(c - 'A') + 10 : -1;
}

const HtmlEntity* find_entity(View name) {
  if (name.size() > longest_name) return nullptr;
  char bytes[longest_name];
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] >= 0x80) return nullptr;
    bytes[i] = static_cast<char>(name[i]);
  }
  const std::string_view wanted(bytes, name.size());
  const auto found = std::lower_bound(html_entities.begin(), html_entities.end(), wanted,
                                      [](const HtmlEntity& entity, std::string_view n) { return entity.name < n; });
  return found == html_entities.end() || found->name != wanted ? nullptr : &*found;
}

Text text_of(const HtmlEntity& entity) {
  Text text;
  for (std::size_t at = 0; at < entity.text.size();) text += next_code_point(entity.text, at);
  return text;
}

/// What `#12` or `#xc` at the start of `rest` stands for, and where it ends; nothing where there is no number.
struct Number {
  Text text;
  std::size_t end;
};
std::optional<Number> read_number(View rest) {
  const bool hex = rest.size() > 1 && (rest[1] == 'x' || rest[1] == 'X');
  const std::size_t first = hex ? 2 : 1;
  std::size_t at = first;
  char32_t value = 0;
  for (; at < rest.size(); ++at) {
    const int digit = hex ? hex_digit(rest[at]) : is_digit(rest[at]) ? hex_digit(rest[at]) : -1;
    if (digit < 0) break;
    value = std::min<char32_t>(value * (hex ? 16 : 10) + static_cast<char32_t>(digit), 0x110000);
  }
  if (at == first) return std::nullopt;
  const bool no_character = (value >= 1 && value <= 8) || value == 0xb || (value >= 0xe && value <= 0x1f) ||
                            value == 0x7f || (value >= 0xfdd0 && value <= 0xfdef) || (value & 0xfffe) == 0xfffe;
  if (value >= 0x80 && value <= 0x9f) return Number{Text(1, windows_1252[value - 0x80]), at};
  if (value == 0 || (value >= 0xd800 && value <= 0xdfff) || value >= 0x110000)
    return Number{Text(1, replacement_character), at};
  return Number{no_character ? Text() : Text(1, value), at};
}

/// ftfy's fixes of characters and entities, until nothing changes, in one pass: what an entity stands for goes through
/// the same, and may complete another.
class Fixer {
 public:
  explicit Fixer(bool entities) : entities_(entities) {}

  Text fix(View text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == escape) {
        i = end_of_escape(text, i);
        continue;
      }
      waiting_.push_back(text[i]);
      while (!waiting_.empty()) {
        const char32_t code = waiting_.back();
        waiting_.pop_back();
        put(code);
      }
    }
    return std::move(out_);
  }

 private:
  /// The last character of a terminal's escape sequence, or `at` where there is none.
  static std::size_t end_of_escape(View text, std::size_t at) {
    std::size_t i = at + 1;
    if (i == text.size() || text[i] != '[') return at;
    for (++i; i < text.size() && (is_digit(text[i]) || text[i] == ';');) ++i;
    return i < text.size() && is_letter(text[i]) ? i : at;
  }

  void put(char32_t code) {
    const auto found = std::lower_bound(clip_replacements.begin(), clip_replacements.end(), code,
                                        [](const ClipReplacement& r, char32_t c) { return r.code < c; });
    if (found == clip_replacements.end() || found->code != code) {
      push(code == greek_question_mark ? U';' : code);  // what NFC makes of it might end an entity
      return;
    }
    for (const char32_t c : found->becomes)
      if (c != 0) push(c);
  }
  void push(char32_t code) {
    out_ += code;
    if (code == ';' && entities_) end_entity();
  }

  /// Where the text now ends with an entity, puts what it stands for in its place.
  void end_entity() {
    const std::size_t end = out_.size() - 1;
    std::size_t begin = end;
    while (begin > 0 && end - begin < longest_entity && (is_digit(out_[begin - 1]) || is_letter(out_[begin - 1])))
      --begin;
    if (begin == end || begin == 0) return;
    const bool number = out_[begin - 1] == '#';
    if (number) --begin;
    if (begin == 0 || out_[begin - 1] != '&') return;
    const View body = View(out_).substr(begin, end - begin);
    Text text;
    if (number) {
      const auto read = read_number(body);
      if (!read || read->end != body.size() || read->text == U";") return;
      text = read->text;
    } else {
      const HtmlEntity* const entity = find_entity(body);
      if (entity == nullptr) return;
      text = text_of(*entity);
    }
    out_.resize(begin - 1);
    waiting_.insert(waiting_.end(), text.rbegin(), text.rend());
  }

  bool entities_;
  Text out_;
  std::vector<char32_t> waiting_;  // the last one is next
};

Text fix_text(View text, const ClipCharacters& characters) {
  Text out;
  bool entities = true;  // a < turns them off from its line on
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t line = std::min(text.find(U'\n', at), text.size() - 1) + 1 - at;
    const View segment = text.substr(at, std::min(line, longest_segment));
    entities = entities && segment.find(U'<') == View::npos;
    for (Text fixed(segment);;) {
      Text next = Fixer(entities).fix(fixed);
      characters.compose(next);
      if (next == fixed) {
        out += fixed;
        break;
      }
      fixed = std::move(next);
    }
    at += segment.size();
  }
  return out;
}

/// HTML 5's rules (Python's html.unescape).
void unescape_html(Text& text) {
  if (text.find(U'&') == Text::npos) return;
  const auto in_name = [](char32_t c) {
    return c != '\t' && c != '\n' && c != '\f' && c != ' ' && c != '<' && c != '&' && c != '#' && c != ';';
  };
  Text out;
  out.reserve(text.size());
  const View all = text;
  for (std::size_t at = 0; at < all.size();) {
    if (all[at] != '&') {
      out += all[at++];
      continue;
    }
    const View rest = all.substr(at + 1);
    std::size_t end = 0;
    if (!rest.empty() && rest[0] == '#') {
      if (const auto number = read_number(rest)) {
        out += number->text;
        end = number->end + (number->end < rest.size() && rest[number->end] == ';');
      } else {
        out += U'&';
      }
    } else {
      while (end < rest.size() && end < longest_name && in_name(rest[end])) ++end;
      const View name = rest.substr(0, end);
      const bool closed = end > 0 && end < rest.size() && rest[end] == ';';
      const HtmlEntity* entity = find_entity(name);
      if (entity != nullptr && (entity->form == HtmlEntity::upper || (entity->form == HtmlEntity::closed && !closed)))
        entity = nullptr;
      if (entity != nullptr) {
        out += text_of(*entity);
        end += closed;
      } else {
        std::size_t length = closed ? end : end - (end > 0);  // of the longest bare name it starts with
        for (; length > 1; --length)
          if (const HtmlEntity* e = find_entity(name.substr(0, length)); e != nullptr && e->form == HtmlEntity::bare) {
            out += text_of(*e);
            break;
          }
        if (length <= 1) {
          length = 0;
          out += U'&';
        }
        out += rest.substr(length, end - length);
      }
    }
    at += 1 + end;
  }
  text = std::move(out);
}

}  // namespace

void clean_text(Text& text, const ClipCharacters& characters) {
  const auto plain = [](char32_t c) { return c >= ' ' && c < 0x7f && c != '&'; };
  if (std::all_of(text.begin(), text.end(), plain)) return;
  text = fix_text(text, characters);
  unescape_html(text);
  unescape_html(text);
}

}  // namespace clip
