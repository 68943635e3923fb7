#include "clip/models/text_encoder.hpp"

#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

Pooling read_pooling(const std::filesystem::path& folder) {
  const JsonFile json(folder / "config.json");
  const bool cls = json.boolean("pooling_mode_cls_token", false),
             mean = json.boolean("pooling_mode_mean_tokens", false);
  for (const auto& [key, value] : json.json().items())
    if (key.starts_with("pooling_mode_") && key != "pooling_mode_cls_token" && key != "pooling_mode_mean_tokens" &&
        json.boolean(key, false))
      json.wrong(key, "false: texts are pooled by their first token or their mean");
  if (cls == mean) json.wrong("pooling_mode_mean_tokens", "one of it and pooling_mode_cls_token to be true");
  return cls ? Pooling::cls : Pooling::mean;
}

/// Applies what the modules of a sentence encoder say, in their order: a transformer, pooling, normalisation.
void read_modules(TextEncoder& encoder, const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "modules.json";
  const Json modules = parse_json(read_file(path, 1 << 20), path);
  check(modules.is_array(), "config", "expected a list of modules in ", quoted(path));
  for (const Json& module : modules) {
    const auto text = [&](const char* key) {
      check(module.is_object() && module.contains(key) && module[key].is_string(), "config", "expected a text for '",
            key, "' of each module in ", quoted(path));
      return module[key].get<std::string>();
    };
    const std::string type = text("type"), inner = text("path");
    check(inner.find("..") == std::string::npos && !inner.starts_with('/'), "config",
          "expected paths inside the folder in ", quoted(path), ", got '", printable(inner), "'");
    if (type.ends_with(".Pooling"))
      encoder.pooling = read_pooling(folder / inner);
    else if (type.ends_with(".Normalize"))
      encoder.normalize = true;
    else
      check(type.ends_with(".Transformer"), "config", "expected modules Transformer, Pooling and Normalize in ",
            quoted(path), ", got '", printable(type), "'");
  }
}

}  // namespace

TextEncoder TextEncoder::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  const JsonFile json(folder / "config.json");
  const bool distil = json.text("model_type") == "distilbert";
  auto model = distil ? std::variant<Bert, DistilBert>(DistilBert::load(folder, device, type))
                      : std::variant<Bert, DistilBert>(Bert::load(folder, device, type));
  TextEncoder encoder{.tokenizer = WordPiece::load(folder), .model = std::move(model), .device = device};
  check(encoder.tokenizer.vocab_size() <= encoder.config().vocab_size, "text_encoder",
        "expected a vocabulary of at most ", encoder.config().vocab_size, " pieces in ", quoted(folder),
        ", as config.json says, got ", encoder.tokenizer.vocab_size());
  if (std::filesystem::exists(folder / "modules.json")) read_modules(encoder, folder);
  return encoder;
}

Tensor TextEncoder::operator()(std::span<const std::string> texts, Random* random) const {
  return (*this)(tokenizer.encode(texts, {.device = device}), random);
}

Tensor TextEncoder::operator()(const Tokens& tokens, Random* random) const {
  const Tensor pooled = std::visit(
      [&](const auto& m) { return pooling == Pooling::cls ? m.cls(tokens, random) : m(tokens, random).mean(); }, model);
  const Tensor rows = to(pooled, dtype::f32);
  return normalize ? l2_normalize(rows) : rows;
}

const BertConfig& TextEncoder::config() const {
  return std::visit([](const auto& m) -> const BertConfig& { return m.config; }, model);
}

}  // namespace clip
