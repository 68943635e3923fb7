#include "clip/text/wordpiece.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <string_view>
#include <vector>

#include "clip/io/file.hpp"
#include "src/text/bert_characters.hpp"
#include "src/text/trie.hpp"
#include "src/text/utf8.hpp"
#include "src/text/wordpiece_files.hpp"

namespace clip {
namespace {

constexpr std::size_t longest_word = 100;  // characters; longer ones are unknown

}  // namespace

struct WordPiece::Model {
  explicit Model(const std::filesystem::path& folder) : files(read_wordpiece(folder)), characters(files.options) {}

  WordPieceFiles files;
  BertCharacters characters;

  /// Appends the ids of a valid text, at most `limit` without [CLS] and [SEP].
  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& ids) const;
};

namespace {

/// The word being read.
class Word {
 public:
  bool empty() const { return characters_ == 0; }
  bool too_long() const { return characters_ > longest_word; }
  std::string_view text() const { return {bytes_.data(), size_}; }
  void push(char32_t code) {
    if (++characters_ <= longest_word) size_ += put_code_point(code, bytes_.data() + size_);
  }
  void clear() { characters_ = size_ = 0; }

 private:
  std::array<char, 4 * longest_word> bytes_;
  std::size_t size_ = 0, characters_ = 0;
};

/// Combining marks wait here for the character that ends their run, then follow in canonical order.
class Marks {
 public:
  bool empty() const { return marks_.empty(); }
  void push(BertCharacters::Part mark) { marks_.push_back(mark); }
  void move_to(Word& word) {
    std::stable_sort(marks_.begin(), marks_.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
    for (const auto& mark : marks_) word.push(mark.code);
    marks_.clear();
  }

 private:
  std::vector<BertCharacters::Part> marks_;
};

}  // namespace

void WordPiece::Model::encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& ids) const {
  const std::size_t first_id = ids.size();
  Word word;
  Marks marks;

  const auto cut = [&] {  // the word into pieces
    if (word.too_long()) return ids.push_back(files.unknown);
    const std::size_t first_piece = ids.size();
    const Trie* pieces = &files.starts;
    for (std::string_view rest = word.text(); !rest.empty(); pieces = &files.continuations) {
      const Trie::Match match = pieces->longest(rest);
      if (match.length == 0) {
        ids.resize(first_piece);
        return ids.push_back(files.unknown);
      }
      ids.push_back(match.value);
      rest.remove_prefix(match.length);
    }
  };
  const auto end_word = [&] {
    if (!marks.empty()) marks.move_to(word);
    if (word.empty()) return;
    cut();
    word.clear();
  };

  for (std::size_t at = 0; at < text.size() && ids.size() - first_id < limit;) {
    if (const Trie::Match match = files.literals.longest(text.substr(at)); match.length > 0) {
      end_word();
      ids.push_back(match.value);
      at += match.length;
      continue;
    }
    const char32_t code = next_code_point(text, at);
    const BertCharacter character = characters[code];
    switch (character.kind()) {
      case BertCharacter::word:
        if (!marks.empty()) marks.move_to(word);
        word.push(character.code());
        break;
      case BertCharacter::space: end_word(); break;
      case BertCharacter::alone:
        end_word();
        word.push(character.code());
        end_word();
        break;
      case BertCharacter::removed: break;
      case BertCharacter::parts: {
        BertCharacters::Part parts[3];
        const int count = characters.parts(code, parts);
        for (int i = 0; i < count; ++i) {
          if (parts[i].rank > 0) {
            marks.push(parts[i]);
            continue;
          }
          if (!marks.empty()) marks.move_to(word);
          if (parts[i].code != 0) word.push(parts[i].code);
        }
        break;
      }
    }
  }
  end_word();
  ids.resize(std::min(ids.size(), first_id + limit));
}

WordPiece WordPiece::load(const std::filesystem::path& folder) {
  return WordPiece(std::make_shared<const Model>(folder));
}

Tokens WordPiece::encode(std::span<const std::string> texts, const TokenizeOptions& options) const {
  check(options.max_length == 0 || options.max_length >= 2, "wordpiece",
        "expected a max_length of at least 2, for [CLS] and [SEP], or 0, got ", options.max_length);
  const std::int64_t longest = options.max_length == 0 ? max_length() : std::min(options.max_length, max_length());

  std::vector<std::vector<std::int32_t>> ids(texts.size());
  std::vector<std::exception_ptr> errors(texts.size());  // none may leave a thread
#pragma omp parallel for schedule(dynamic, 32) if (texts.size() > 32)
  for (std::size_t i = 0; i < texts.size(); ++i) {
    try {
      const std::size_t wrong = find_invalid_utf8(texts[i]);
      check(wrong == std::string::npos, "wordpiece", "expected UTF-8, got something else in text ", i + 1, " at byte ",
            wrong + 1);
      ids[i].push_back(model_->files.begin);
      model_->encode(texts[i], static_cast<std::size_t>(longest - 2), ids[i]);
      ids[i].push_back(model_->files.end);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return Tokens::pack(ids, options.device);
}

std::int32_t WordPiece::pad_id() const { return model_->files.pad; }
std::int64_t WordPiece::vocab_size() const { return model_->files.vocab_size; }
std::int64_t WordPiece::max_length() const { return model_->files.max_length; }

}  // namespace clip
