#include "clip/models/text_encoder.hpp"

#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "src/io/json.hpp"
#include "src/models/sentence_modules.hpp"

namespace clip {
TextEncoder TextEncoder::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  const SentenceModules modules = read_sentence_modules(folder);
  const std::filesystem::path& inner = modules.transformer;
  const bool distil = JsonFile(inner / "config.json").text("model_type") == "distilbert";
  auto model = distil ? std::variant<Bert, DistilBert>(DistilBert::load(inner, device, type))
                      : std::variant<Bert, DistilBert>(Bert::load(inner, device, type));
  TextEncoder encoder{.tokenizer = WordPiece::load(inner),
                      .model = std::move(model),
                      .pooling = modules.pooling,
                      .normalize = modules.normalize,
                      .device = device};
  check(encoder.tokenizer.vocab_size() <= encoder.config().vocab_size, "text_encoder",
        "expected a vocabulary of at most ", encoder.config().vocab_size, " pieces in ", quoted(inner),
        ", as config.json says, got ", encoder.tokenizer.vocab_size());
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
