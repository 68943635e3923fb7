#include "clip/text/clip_tokenizer.hpp"

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/text/clean_text.hpp"
#include "src/text/clip_tokenizer_files.hpp"
#include "src/text/utf8.hpp"

namespace clip {
namespace {

using Text = std::u32string;
using View = std::u32string_view;

constexpr char32_t long_s = 0x17f;  // Python's regex takes it for an s

Text to_text(std::string_view utf8) {
  Text text;
  text.reserve(utf8.size());
  for (std::size_t at = 0; at < utf8.size();) text += next_code_point(utf8, at);
  return text;
}
void to_utf8(View text, std::string& out) {
  out.clear();
  for (const char32_t code : text) {
    char bytes[4];
    out.append(bytes, put_code_point(code, bytes));
  }
}

}  // namespace

struct ClipTokenizer::Model {
  struct Literal {
    Text text;
    std::int32_t id;
    bool normalized;
  };

  explicit Model(const std::filesystem::path& folder)
      : files(read_clip_tokenizer(folder)), characters(files.pipeline), openai(files.pipeline == ClipPipeline::openai) {
    for (const auto& literal : files.literals)
      literals.push_back({to_text(literal.text), literal.id, literal.normalized});
    std::sort(literals.begin(), literals.end(),  // the longest one that fits counts
              [](const Literal& a, const Literal& b) { return a.text.size() > b.text.size(); });
  }

  ClipTokenizerFiles files;
  ClipCharacters characters;
  bool openai;
  std::vector<Literal> literals;

  /// Appends the ids of a valid text, at least the first `limit` of them where it has more.
  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& ids) const;
  void encode_raw(View text, std::size_t limit, std::vector<std::int32_t>& ids) const;
  void encode_normal(View text, std::size_t limit, std::vector<std::int32_t>& ids) const;
  void encode_words(View text, std::size_t limit, std::vector<std::int32_t>& ids) const;

  /// A contraction such as 's or 'll at the start of `text`: how long it is.
  std::size_t contraction(View text) const;
  /// The length of a special token's text at the start of `text`, as the pattern of the reference finds it.
  std::size_t special(View text) const;

  /// encode(part) for what stands between literals, and their ids.
  template <class Encode>
  void split(View text, bool normalized, std::size_t limit, std::vector<std::int32_t>& ids,
             const Encode& encode) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size() && ids.size() < limit;) {
      const auto found = std::find_if(literals.begin(), literals.end(), [&](const Literal& literal) {
        return literal.normalized == normalized && text[at] == literal.text[0] &&
               text.substr(at, literal.text.size()) == literal.text;
      });
      if (found == literals.end()) {
        ++at;
        continue;
      }
      encode(text.substr(begin, at - begin));
      ids.push_back(found->id);
      begin = at += found->text.size();
    }
    encode(text.substr(begin));
  }
};

void ClipTokenizer::Model::encode(std::string_view utf8, std::size_t limit, std::vector<std::int32_t>& ids) const {
  Text text = to_text(utf8);
  if (!openai) return encode_raw(text, limit, ids);
  clean_text(text, characters);
  characters.lower(text);
  encode_words(text, limit, ids);
}

void ClipTokenizer::Model::encode_raw(View text, std::size_t limit, std::vector<std::int32_t>& ids) const {
  split(text, false, limit, ids, [&](View part) {
    Text normal(part);
    characters.compose(normal);
    characters.lower(normal);
    encode_normal(normal, limit, ids);
  });
}

void ClipTokenizer::Model::encode_normal(View text, std::size_t limit, std::vector<std::int32_t>& ids) const {
  split(text, true, limit, ids, [&](View part) { encode_words(part, limit, ids); });
}

std::size_t ClipTokenizer::Model::contraction(View text) const {
  if (text[0] != '\'') return 0;
  const auto letter = [&](std::size_t i) {
    if (i >= text.size()) return U'\0';
    return openai && text[i] == long_s ? U's' : text[i];
  };
  const char32_t first = letter(1), second = letter(2);
  if (first == 's' || first == 't') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'm') return 2;
  if (first == 'l' && second == 'l') return 3;
  return first == 'd' ? 2 : 0;
}

std::size_t ClipTokenizer::Model::special(View text) const {
  if (text[0] != '<') return 0;
  if (!openai) {
    for (const View known : {U"<|startoftext|>", U"<|endoftext|>"})
      if (text.starts_with(known)) return known.size();
    return 0;
  }
  const auto same = [](char32_t a, char32_t b) { return a == b || (a == long_s && b == 's'); };
  for (const Literal& literal : literals)
    if (text.size() >= literal.text.size() && std::equal(literal.text.begin(), literal.text.end(), text.begin(),
                                                         [&](char32_t l, char32_t t) { return same(t, l); }))
      return literal.text.size();
  return 0;
}

void ClipTokenizer::Model::encode_words(View text, std::size_t limit, std::vector<std::int32_t>& ids) const {
  std::string bytes;
  for (std::size_t at = 0; at < text.size() && ids.size() < limit;) {
    const View rest = text.substr(at);
    const ClipCategory category = characters.category(rest[0]);
    if (category == ClipCategory::space) {
      ++at;
      continue;
    }
    std::size_t length = special(rest);
    if (length > 0 && !openai) {  // transformers cuts its text into words again: <| startoftext |>
      const std::size_t sign = 2;
      for (const View word :
           {rest.substr(0, sign), rest.substr(sign, length - 2 * sign), rest.substr(length - sign, sign)}) {
        to_utf8(word, bytes);
        files.bpe.encode(bytes, ids);
      }
      at += length;
      continue;
    }
    if (length > 0) {
      const auto found = std::find_if(literals.begin(), literals.end(),
                                      [&](const Literal& literal) { return literal.text == rest.substr(0, length); });
      if (found != literals.end()) {
        ids.push_back(found->id);
        at += length;
        continue;
      }
    }
    if (length == 0) length = contraction(rest);
    if (length == 0) {
      length = 1;
      if (category != ClipCategory::number)
        while (length < rest.size() && characters.category(rest[length]) == category) ++length;
    }
    to_utf8(rest.substr(0, length), bytes);
    files.bpe.encode(bytes, ids);
    at += length;
  }
}

ClipTokenizer ClipTokenizer::load(const std::filesystem::path& folder) {
  return ClipTokenizer(std::make_shared<const Model>(folder));
}

namespace {

/// work(i) for all texts, on all threads where they are many.
template <class Work>
void for_texts(std::size_t count, const Work& work) {
  std::vector<std::exception_ptr> errors(count);  // none may leave a thread
#pragma omp parallel for schedule(dynamic, 32) if (count > 32)
  for (std::size_t i = 0; i < count; ++i) {
    try {
      work(i);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

void check_utf8(const std::string& text, std::size_t i) {
  const std::size_t wrong = find_invalid_utf8(text);
  check(wrong == std::string::npos, "clip_tokenizer", "expected UTF-8, got something else in text ", i + 1, " at byte ",
        wrong + 1);
}

}  // namespace

Tokens ClipTokenizer::encode(std::span<const std::string> texts, const ClipTokenizeOptions& options) const {
  const auto longest = static_cast<std::size_t>(max_length());
  std::vector<std::vector<std::int32_t>> ids(texts.size());
  for_texts(texts.size(), [&](std::size_t i) {
    check_utf8(texts[i], i);
    ids[i].push_back(model_->files.begin);
    model_->encode(texts[i], options.truncate ? longest : SIZE_MAX, ids[i]);
    check(options.truncate || ids[i].size() < longest, "clip_tokenizer", "expected at most ", longest, " tokens, got ",
          ids[i].size() + 1, " in text ", i + 1, ", '", printable(texts[i]),
          "': shorten it, or let texts be truncated");
    ids[i].resize(std::min(ids[i].size(), longest - 1));
    ids[i].push_back(model_->files.end);
  });
  return Tokens::pack(ids, options.device);
}

std::vector<std::size_t> ClipTokenizer::too_long(std::span<const std::string> texts) const {
  const auto longest = static_cast<std::size_t>(max_length());
  std::vector<char> cut(texts.size());
  for_texts(texts.size(), [&](std::size_t i) {
    check_utf8(texts[i], i);
    std::vector<std::int32_t> ids = {model_->files.begin};
    model_->encode(texts[i], longest, ids);
    cut[i] = ids.size() >= longest ? 1 : 0;
  });
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < cut.size(); ++i)
    if (cut[i] != 0) found.push_back(i);
  return found;
}

std::int32_t ClipTokenizer::pad_id() const { return model_->files.pad; }
std::int32_t ClipTokenizer::begin_id() const { return model_->files.begin; }
std::int32_t ClipTokenizer::end_id() const { return model_->files.end; }
std::int64_t ClipTokenizer::vocab_size() const { return model_->files.vocab_size; }
std::int64_t ClipTokenizer::max_length() const { return model_->files.max_length; }

}  // namespace clip
