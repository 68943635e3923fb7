#include "src/text/wordpiece_files.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

using std::filesystem::path;

constexpr std::int64_t most_tokens = 1 << 21, longest_anywhere = 1 << 20;
constexpr std::uint64_t largest_vocabulary = 1 << 24;  // bytes
constexpr std::size_t longest_literal = 256;           // bytes; it is tried wherever a text looks like its start

using TokenIds = std::vector<std::pair<std::string, std::int32_t>>;

/// vocab.txt: a token a line, numbered from 0.
TokenIds read_vocabulary(const path& file) {
  const std::string content = read_file(file, largest_vocabulary);
  TokenIds pieces;
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t end = std::min(content.find('\n', at), content.size());
    std::string token = content.substr(at, end - at);
    if (!token.empty() && token.back() == '\r') token.pop_back();
    const auto line = static_cast<std::int32_t>(pieces.size());
    if (!is_utf8(token))
      fail("wordpiece", "expected UTF-8 in ", quoted(file), ", got '", printable(token), "' in line ", line + 1);
    if (line >= most_tokens) fail("wordpiece", quoted(file), " has more than ", most_tokens, " lines");
    pieces.emplace_back(std::move(token), line);
    at = end + 1;
  }
  return pieces;
}

/// One of the files that may be there.
std::optional<JsonFile> read_settings(const path& file) {
  if (!is_there(file)) return std::nullopt;
  return JsonFile(file);
}

/// The text of a token: a string, or an object that holds it.
std::optional<std::string> token_text(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.contains("content") && token["content"].is_string())
    return token["content"].get<std::string>();
  return std::nullopt;
}

constexpr std::int64_t most_padding = 128;  // rows of embeddings beyond the vocabulary

/// A tokenizer put together from the files of a folder.
class Reader {
 public:
  explicit Reader(const path& folder)
      : folder_(folder),
        config_(read_settings(folder / "tokenizer_config.json")),
        map_(read_settings(folder / "special_tokens_map.json")) {}

  WordPieceFiles read() {
    const path vocabulary = folder_ / "vocab.txt", whole = folder_ / "tokenizer.json";
    if (is_there(vocabulary)) {
      source_ = vocabulary;
      pieces_ = read_vocabulary(vocabulary);
    } else {
      check(is_there(whole), "wordpiece", "expected vocab.txt or tokenizer.json in ", quoted(folder_),
            ", found neither: copy one of them from where the model came from");
      source_ = whole;
      read_tokenizer(JsonFile(whole));
    }
    for (const auto& piece : pieces_) files_.vocab_size = std::max<std::int64_t>(files_.vocab_size, piece.second + 1);
    if (const auto config = read_settings(folder_ / "config.json")) {
      const std::int64_t rows = config->integer("vocab_size", 0, std::int64_t{1} << 40, 0);
      check(files_.vocab_size + most_padding >= rows, "wordpiece", "expected about ", rows, " tokens in ",
            quoted(source_), ", as config.json says, got ", files_.vocab_size, ": the file may be cut off");
    }
    TokenIds continuations;
    std::erase_if(pieces_, [&](auto& piece) {
      if (!piece.first.starts_with("##")) return false;
      continuations.emplace_back(piece.first.substr(2), piece.second);
      return true;
    });
    files_.starts = Trie(std::move(pieces_));
    files_.continuations = Trie(std::move(continuations));
    read_options();
    read_special_tokens();
    read_lengths();
    for (const auto& [token, id] : literals_) {
      check(token.size() <= longest_literal, "wordpiece", "expected special tokens of at most ", longest_literal,
            " bytes in ", quoted(folder_), ", got '", printable(token), "'");
      files_.vocab_size = std::max<std::int64_t>(files_.vocab_size, id + 1);
    }
    files_.literals = Trie(std::move(literals_));
    return std::move(files_);
  }

 private:
  /// tokenizer.json: the vocabulary and all steps, of which only BERT's are known here.
  void read_tokenizer(const JsonFile& file) {
    const Json& all = file.json();
    const auto part = [&](const char* key, const char* type) -> const Json& {
      const Json* const found = all.contains(key) && all[key].is_object() ? &all[key] : nullptr;
      if (found == nullptr || found->value("type", Json()) != type) file.wrong(key, std::string("a ") + type);
      return *found;
    };
    const Json& model = part("model", "WordPiece");
    const Json& normalizer = part("normalizer", "BertNormalizer");
    part("pre_tokenizer", "BertPreTokenizer");
    if (model.value("continuing_subword_prefix", Json()) != "##" ||
        model.value("max_input_chars_per_word", Json()) != 100 || !model.contains("vocab") ||
        !model["vocab"].is_object())
      file.wrong("model", "a WordPiece vocabulary with the prefix '##' and 100 characters a word");
    for (const auto& [token, id] : model["vocab"].items()) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= most_tokens)
        fail("wordpiece", "expected a small number for the token '", printable(token), "' in ", quoted(source_),
             ", got ", shown(id));
      pieces_.emplace_back(token, id.get<std::int32_t>());
    }
    if (normalizer.value("clean_text", Json()) != true) file.wrong("normalizer", "clean_text: true");
    const auto flag = [&](const char* key, bool fallback) {
      if (!normalizer.contains(key) || normalizer[key].is_null()) return fallback;
      if (!normalizer[key].is_boolean()) file.wrong("normalizer", std::string("true or false for ") + key);
      return normalizer[key].get<bool>();
    };
    files_.options.lower_case = flag("lowercase", true);
    files_.options.split_chinese = flag("handle_chinese_chars", true);
    strip_accents_ = flag("strip_accents", files_.options.lower_case);
    if (!file.has("added_tokens")) return;
    if (!all["added_tokens"].is_array()) file.wrong("added_tokens", "a list");
    for (const Json& token : all["added_tokens"])
      add(token, token.is_object() ? token.value("id", Json()) : Json(), source_);
  }

  void read_options() {
    BertOptions& options = files_.options;
    if (config_) {
      options.lower_case = config_->boolean("do_lower_case", options.lower_case);
      options.split_chinese = config_->boolean("tokenize_chinese_chars", options.split_chinese);
      if (config_->has("strip_accents")) strip_accents_ = config_->boolean("strip_accents", true);
    }
    options.strip_accents = strip_accents_.value_or(options.lower_case);
  }

  void read_special_tokens() {
    files_.unknown = special("unk_token", "[UNK]");
    files_.begin = special("cls_token", "[CLS]");
    files_.end = special("sep_token", "[SEP]");
    files_.pad = special("pad_token", "[PAD]");
    const std::string mask = name_of("mask_token", "[MASK]");
    if (const auto id = id_of(mask)) literals_.emplace_back(mask, *id);
    if (config_ && config_->has("added_tokens_decoder")) {
      const Json& added = config_->json()["added_tokens_decoder"];
      if (!added.is_object()) config_->wrong("added_tokens_decoder", "an object");
      for (const auto& [id, token] : added.items()) {
        const bool number = !id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos;
        add(token, number ? Json(std::stoul(id)) : Json(), config_->path());
      }
    }
    const char* const additional = "additional_special_tokens";
    for (const auto* file : {&config_, &map_}) {
      if (!*file || !(*file)->has(additional)) continue;
      const Json& tokens = (*file)->json()[additional];
      if (!tokens.is_array()) (*file)->wrong(additional, "a list");
      for (const Json& token : tokens) known(token_text(token).value_or(""), (*file)->path());
    }
    if (const auto file = read_settings(folder_ / "added_tokens.json"))
      for (const auto& token : file->json().items()) known(token.key(), file->path());
  }

  /// Makes a token of the vocabulary special. One beside it must have been added, with its number, before.
  void known(const std::string& token, const path& file) {
    const auto same = [&](const auto& literal) { return literal.first == token; };
    if (std::any_of(literals_.begin(), literals_.end(), same)) return;
    const auto id = id_of(token);
    check(id.has_value(), "wordpiece", "expected the special token '", printable(token), "' of ", quoted(file), " in ",
          quoted(source_), " or tokenizer_config.json, but it is not there");
    literals_.emplace_back(token, *id);
  }

  /// A token beside the vocabulary, or a special one of it.
  void add(const Json& token, const Json& id, const path& file) {
    const auto text = token_text(token);
    check(
        token.is_object() && text && !text->empty() && id.is_number_unsigned() && id.get<std::uint64_t>() < most_tokens,
        "wordpiece", "expected an added token with a text and a number in ", quoted(file), ", got ",
        printable(token.dump(-1, ' ', false, Json::error_handler_t::replace)));
    check(token.value("single_word", Json(false)) == false && token.value("normalized", Json(false)) == false,
          "wordpiece", "the added token '", printable(*text), "' in ", quoted(file),
          " is matched as a single word or in normalised text, which is not supported");
    literals_.emplace_back(*text, id.get<std::int32_t>());
  }

  std::optional<std::int32_t> id_of(const std::string& token) const {
    const Trie::Match match = files_.starts.longest(token);
    if (token.empty() || match.length != token.size()) return std::nullopt;
    return match.value;
  }

  std::string name_of(const char* key, const char* fallback) const {
    for (const auto* file : {&config_, &map_})
      if (*file && (*file)->has(key)) {
        if (const auto text = token_text((*file)->json()[key])) return *text;
        (*file)->wrong(key, "a token");
      }
    return fallback;
  }

  std::int32_t special(const char* key, const char* fallback) {
    const std::string text = name_of(key, fallback);
    const auto id = id_of(text);
    check(id.has_value(), "wordpiece", "expected the token '", printable(text), "' in ", quoted(source_),
          ", but it is not there: is this BERT's vocabulary?");
    literals_.emplace_back(text, *id);
    return *id;
  }

  /// The least of what limits a text.
  void read_lengths() {
    std::optional<std::int64_t> least;
    const auto limit = [&](const std::optional<JsonFile>& file, const char* key) {
      if (!file || !file->has(key)) return;
      const double said = file->number(key, 0);  // 1e30 where nobody knew
      if (!(said >= 2)) file->wrong(key, "a length of at least 2");
      least =
          std::min(least.value_or(longest_anywhere), static_cast<std::int64_t>(std::min(said, 1.0 * longest_anywhere)));
    };
    limit(config_, "model_max_length");
    limit(read_settings(folder_ / "config.json"), "max_position_embeddings");
    if (const auto sentence = read_settings(folder_ / "sentence_bert_config.json")) {
      limit(sentence, "max_seq_length");
      check(!sentence->boolean("do_lower_case", false), "wordpiece", quoted(sentence->path()),
            " asks for do_lower_case before tokenizing, which is not supported: set it to false if ",
            "tokenizer_config.json lowers anyway");
    }
    files_.max_length = least.value_or(512);
  }

  path folder_, source_;
  std::optional<JsonFile> config_, map_;
  std::optional<bool> strip_accents_;
  TokenIds pieces_, literals_;
  WordPieceFiles files_;
};

}  // namespace

WordPieceFiles read_wordpiece(const path& folder) { return Reader(folder).read(); }

}  // namespace clip
