#include "src/text/clip_tokenizer_files.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"
#include "src/text/utf8.hpp"

namespace clip {
namespace {

using std::filesystem::path;

constexpr const char* where = "clip_tokenizer";
constexpr std::int64_t most_tokens = 1 << 21, longest_anywhere = 1 << 20;
constexpr std::size_t longest_literal = 256;  // bytes

std::optional<JsonFile> read_settings(const path& file) {
  if (!is_there(file)) return std::nullopt;
  return JsonFile(file);
}

/// How the vocabulary writes a byte: as itself where it is a visible Latin-1 character, else as one beyond them.
std::array<std::string, 256> byte_names() {
  std::array<std::string, 256> names;
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    char bytes[4];
    names[byte] = std::string(bytes, put_code_point(visible ? byte : next++, bytes));
  }
  return names;
}

/// A tokenizer put together from the files of a folder.
class Reader {
 public:
  explicit Reader(const path& folder)
      : folder_(folder),
        config_(read_settings(folder / "tokenizer_config.json")),
        map_(read_settings(folder / "special_tokens_map.json")) {}

  ClipTokenizerFiles read() {
    const path vocabulary = folder_ / "vocab.json", merges = folder_ / "merges.txt", whole = folder_ / "tokenizer.json";
    if (is_there(vocabulary) && is_there(merges)) {
      read_vocabulary(JsonFile(vocabulary).json(), vocabulary);
      read_merges(merges);
    } else {
      const char* missing = is_there(vocabulary) ? "merges.txt" : "vocab.json and merges.txt";
      check(is_there(whole), where, "expected ", missing, ", or tokenizer.json, in ", quoted(folder_),
            ", found none: copy them from where the model came from");
      read_tokenizer(JsonFile(whole));
    }
    const ClipPipeline pipeline = read_pipeline();
    read_special_tokens(pipeline);
    check_merges();
    return {.pipeline = pipeline,
            .bpe = read_bpe(),
            .literals = std::move(literals_),
            .begin = begin_,
            .end = end_,
            .pad = pad_,
            .vocab_size = size_,
            .max_length = read_length()};
  }

 private:
  void read_vocabulary(const Json& tokens, const path& file) {
    for (const auto& [token, id] : tokens.items()) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= most_tokens)
        fail(where, "expected a small number for the token '", printable(token), "' in ", quoted(file), ", got ",
             shown(id));
      ids_.emplace(token, id.get<std::int32_t>());
      size_ = std::max(size_, id.get<std::int64_t>() + 1);
    }
    source_ = file;
  }

  void add_merge(std::string_view left, std::string_view right, const path& file, std::size_t number) {
    const auto a = id_of(left), b = id_of(right), both = id_of(std::string(left).append(right));
    check(a && b && both, where, "the merge ", number, " of ", quoted(file), ", '", printable(left), "' and '",
          printable(right), "', is not in ", quoted(source_), ": the two files belong to different models");
    merges_.push_back({*a, *b, *both});
  }

  /// Tokens are bytes, special, or made by merges. Where one is none of these, merges are missing, and texts would
  /// become other tokens without a word.
  void check_merges() const {
    std::vector<bool> made(static_cast<std::size_t>(size_));
    for (const Bpe::Merge& merge : merges_) made[static_cast<std::size_t>(merge.merged)] = true;
    for (const std::string& name : byte_names())
      for (const char* const end : {"", "</w>"})
        if (const auto id = id_of(name + end)) made[static_cast<std::size_t>(*id)] = true;
    for (const auto& literal : literals_) made[static_cast<std::size_t>(literal.id)] = true;
    for (const auto& [token, id] : ids_)
      check(made[static_cast<std::size_t>(id)] || (token.starts_with('<') && token.ends_with('>')), where,
            "expected a merge that makes the token '", printable(token), "' of ", quoted(source_), " in ",
            quoted(merges_file_), ", got none: the file is cut off, or another model's");
  }

  /// merges.txt: a pair a line; the first line may name a version.
  void read_merges(const path& file) {
    merges_file_ = file;
    const std::vector<std::string> lines = read_lines(file);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string& line = lines[i];
      if (line.empty() || line.starts_with("#version")) continue;
      const std::size_t space = line.find(' ');
      check(space != std::string::npos && line.find(' ', space + 1) == std::string::npos, where,
            "expected two tokens in line ", i + 1, " of ", quoted(file), ", got '", printable(line), "'");
      add_merge(std::string_view(line).substr(0, space), std::string_view(line).substr(space + 1), file, i + 1);
    }
  }

  /// tokenizer.json: the vocabulary and all steps, of which only CLIP's are known here.
  void read_tokenizer(const JsonFile& file) {
    const Json& all = file.json();
    const auto has_type = [](const Json& step, const char* type) {
      return step.is_object() && step.value("type", Json()) == type;
    };
    if (!file.has("model") || !has_type(all["model"], "BPE")) file.wrong("model", "a BPE");
    const Json& model = all["model"];
    if (model.value("end_of_word_suffix", Json()) != "</w>" || !model.contains("vocab") ||
        !model["vocab"].is_object() || !model.contains("merges") || !model["merges"].is_array())
      file.wrong("model", "CLIP's, with the suffix '</w>', a vocabulary and merges");
    constexpr std::array<const char*, 3> steps = {"NFC", "Replace", "Lowercase"};
    const Json normalizer = all.value("normalizer", Json());
    const Json list = normalizer.is_object() ? normalizer.value("normalizers", Json()) : Json();
    bool known = list.is_array() && list.size() == steps.size();
    for (std::size_t i = 0; known && i < steps.size(); ++i) known = has_type(list[i], steps[i]);
    if (!known) file.wrong("normalizer", "NFC, Replace and Lowercase, as CLIP has");
    read_vocabulary(model["vocab"], file.path());
    merges_file_ = file.path();
    std::size_t number = 0;
    for (const Json& merge : model["merges"]) {
      ++number;
      if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const std::size_t space = std::min(text.find(' '), text.size());
        add_merge(text.substr(0, space), std::string_view(text).substr(std::min(space + 1, text.size())), file.path(),
                  number);
      } else {
        if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
          fail(where, "expected two tokens in merge ", number, " of ", quoted(file.path()), ", got ", shown(merge));
        add_merge(merge[0].get<std::string>(), merge[1].get<std::string>(), file.path(), number);
      }
    }
    if (!file.has("added_tokens") || !all["added_tokens"].is_array()) return;
    for (const Json& token : all["added_tokens"])
      if (token.is_object() && token.contains("content") && token["content"].is_string())
        add_literal(token["content"].get<std::string>(), token.value("normalized", Json(false)) == true);
  }

  ClipPipeline read_pipeline() {
    const std::string name = config_ ? config_->text("pipeline", "huggingface") : "huggingface";
    if (name == "openai") return ClipPipeline::openai;
    if (name != "huggingface") config_->wrong("pipeline", "'huggingface' or 'openai'");
    return ClipPipeline::huggingface;
  }

  void add_literal(const std::string& token, bool normalized) {
    const auto id = id_of(token);
    check(id.has_value(), where, "expected the special token '", printable(token), "' in ", quoted(source_),
          ", but it is not there: is this CLIP's vocabulary?");
    check(!token.empty() && token.size() <= longest_literal, where, "expected special tokens of 1 to ", longest_literal,
          " bytes in ", quoted(folder_), ", got '", printable(token), "'");
    std::erase_if(literals_, [&](const auto& literal) { return literal.text == token; });
    literals_.push_back({token, *id, normalized});
  }

  std::int32_t special(const char* key, const char* fallback) {
    for (const auto* file : {&config_, &map_}) {
      if (!*file || !(*file)->has(key)) continue;
      const Json& token = (*file)->json()[key];
      const bool object = token.is_object() && token.contains("content") && token["content"].is_string();
      if (!object && !token.is_string()) (*file)->wrong(key, "a token");
      const std::string text = object ? token["content"].get<std::string>() : token.get<std::string>();
      add_literal(text, object && token.value("normalized", Json(false)) == true);
      return *id_of(text);
    }
    add_literal(fallback, false);
    return *id_of(fallback);
  }

  void read_special_tokens(ClipPipeline pipeline) {
    const bool open_clip = ids_.contains("<start_of_text>");
    const char* const end = open_clip ? "<end_of_text>" : "<|endoftext|>";
    begin_ = special("bos_token", open_clip ? "<start_of_text>" : "<|startoftext|>");
    end_ = special("eos_token", end);
    unknown_ = special("unk_token", end);
    const bool said = (config_ && config_->has("pad_token")) || (map_ && map_->has("pad_token"));
    pad_ = pipeline == ClipPipeline::openai && !said ? 0 : special("pad_token", end);
  }

  Bpe read_bpe() const {
    std::array<std::int32_t, 256> inner{}, last{};
    const std::array<std::string, 256> names = byte_names();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      inner[byte] = id_of(names[byte]).value_or(unknown_);
      last[byte] = id_of(names[byte] + "</w>").value_or(unknown_);
    }
    return {inner, last, merges_};
  }

  /// The least of what limits a text.
  std::int64_t read_length() {
    std::optional<std::int64_t> least;
    const auto limit = [&](const JsonFile& file, const char* key, double said) {
      if (!(said >= 2)) file.wrong(key, "a length of at least 2");
      least =
          std::min(least.value_or(longest_anywhere), static_cast<std::int64_t>(std::min(said, 1.0 * longest_anywhere)));
    };
    if (config_ && config_->has("model_max_length"))
      limit(*config_, "model_max_length", config_->number("model_max_length", 0));
    if (const auto config = read_settings(folder_ / "config.json"); config && config->has("text_config")) {
      const Json& text = config->json()["text_config"];
      if (text.is_object() && text.contains("max_position_embeddings")) {
        const Json& length = text["max_position_embeddings"];
        limit(*config, "text_config", length.is_number() ? length.get<double>() : 0);
      }
    }
    return least.value_or(77);
  }

  std::optional<std::int32_t> id_of(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }

  path folder_, source_, merges_file_;
  std::optional<JsonFile> config_, map_;
  std::map<std::string, std::int32_t, std::less<>> ids_;
  std::vector<Bpe::Merge> merges_;
  std::vector<ClipTokenizerFiles::Literal> literals_;
  std::int32_t begin_ = 0, end_ = 0, unknown_ = 0, pad_ = 0;
  std::int64_t size_ = 0;
};

}  // namespace

ClipTokenizerFiles read_clip_tokenizer(const path& folder) { return Reader(folder).read(); }

}  // namespace clip
