#include "clip/models/bert.hpp"

#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/attention.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/dropout.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/view.hpp"
#include "src/io/json.hpp"
#include "src/models/model_size.hpp"

namespace clip {
namespace {

Activation read_activation(const JsonFile& json, const std::string& key) {
  const std::string name = json.text(key, "gelu");
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "relu") return Activation::relu;
  json.wrong(key, "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu or relu");
}

/// x + layer(in), of which an element is dropped with probability p where there is `random`.
Tensor add_to(Tensor x, const Linear& layer, const Tensor& in, float p, Random* random) {
  if (random == nullptr || p == 0) return layer(in, {.residual = std::move(x)});
  return dropout_add(layer(in), x, p, *random);
}

template <class Layer>
HiddenStates encode(const BertEmbeddings& embeddings, const std::vector<Layer>& layers, const Tokens& tokens,
                    Random* random) {
  Tensor x = embeddings(tokens, random);
  for (const Layer& layer : layers) x = layer(std::move(x), tokens, random);
  return {x, tokens.offsets, tokens.longest};
}
template <class Layer>
Tensor encode_cls(const BertEmbeddings& embeddings, const std::vector<Layer>& layers, const Tokens& tokens,
                  Random* random) {
  Tensor x = embeddings(tokens, random);
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) x = layers[i](std::move(x), tokens, random);
  return layers.back().first_rows(x, tokens, random);
}

}  // namespace

BertConfig BertConfig::read(const std::filesystem::path& folder) {
  const JsonFile json(folder / "config.json");
  const std::string type = json.text("model_type");
  const bool distil = type == "distilbert";
  if (!distil && type != "bert") json.wrong("model_type", "bert or distilbert");
  const auto size = [&](const char* bert, const char* distilbert, std::int64_t most) {
    return json.integer(distil ? distilbert : bert, 1, most);
  };
  BertConfig config;
  config.vocab_size = json.integer("vocab_size", 1, 10'000'000);
  config.max_positions = json.integer("max_position_embeddings", 1, 1'000'000);
  config.token_types = distil ? 0 : json.integer("type_vocab_size", 1, 1'000, 2);
  config.size = size("hidden_size", "dim", 65'536);
  config.feed_forward = size("intermediate_size", "hidden_dim", 1'048'576);
  config.layers = size("num_hidden_layers", "n_layers", 1'000);
  const char* const heads = distil ? "n_heads" : "num_attention_heads";
  config.heads = json.integer(heads, 1, config.size);
  if (config.size % config.heads != 0) json.wrong(heads, "a divisor of the size " + std::to_string(config.size));
  config.activation = read_activation(json, distil ? "activation" : "hidden_act");
  config.norm_eps = static_cast<float>(json.number("layer_norm_eps", 1e-12));
  if (!(config.norm_eps > 0 && config.norm_eps < 1)) json.wrong("layer_norm_eps", "a number between 0 and 1");
  const auto probability = [&](const char* key) {
    const double p = json.number(key, 0.1);
    if (!(p >= 0 && p < 1)) json.wrong(key, "a number from 0 to below 1");
    return static_cast<float>(p);
  };
  config.dropout = probability(distil ? "dropout" : "hidden_dropout_prob");
  config.attention_dropout = probability(distil ? "attention_dropout" : "attention_probs_dropout_prob");
  config.attention_out_dropout = distil ? 0 : config.dropout;
  if (json.boolean("is_decoder", false)) json.wrong("is_decoder", "false: only encoders are supported");
  if (json.text("position_embedding_type", "absolute") != "absolute") json.wrong("position_embedding_type", "absolute");
  return config;
}

std::int64_t BertConfig::parameters() const {
  const std::int64_t embeddings = (vocab_size + max_positions + token_types + 2) * size;
  const std::int64_t attention = 4 * (size * size + size), up_and_down = 2 * size * feed_forward + feed_forward + size;
  return embeddings + layers * (attention + up_and_down + 4 * size);
}

Tensor HiddenStates::cls() const {
  check(rows.defined() && offsets.defined(), "cls", "expected hidden states, got none");
  const std::int64_t count = offsets.numel() - 1;
  return embedding(rows, slice(offsets, 0, count));
}

Tensor HiddenStates::mean() const {
  // what a query gets that finds all keys alike
  const Tensor values = to(reshape(rows, {rows.shape(0), 1, rows.shape(1)}), dtype::f32);
  const std::int64_t count = offsets.numel() - 1, size = rows.shape(1);
  const Tensor queries = zeros({count, 1, 1, size}, dtype::f32, rows.device());
  return reshape(attention(queries, values.detach(), values, {.offsets = offsets, .longest = longest}), {count, size});
}

Tensor BertLayer::operator()(Tensor x, const Tokens& tokens, Random* random) const {
  const Shape split{x.shape(0), heads, x.shape(1) / heads};
  const Tensor context =
      attention(reshape(query(x), split), reshape(key(x), split), reshape(value(x), split),
                {.offsets = tokens.offsets, .longest = tokens.longest, .dropout = attention_dropout, .random = random});
  return finish(context, std::move(x), random);
}

Tensor BertLayer::first_rows(const Tensor& x, const Tokens& tokens, Random* random) const {
  const std::int64_t dim = x.shape(1) / heads, count = tokens.count();
  const Shape split{x.shape(0), heads, dim};
  Tensor first = embedding(x, slice(tokens.offsets, 0, count));
  const Tensor context =
      attention(reshape(query(first), {count, 1, heads, dim}), reshape(key(x), split), reshape(value(x), split),
                {.offsets = tokens.offsets, .longest = tokens.longest, .dropout = attention_dropout, .random = random});
  return finish(context, std::move(first), random);
}

Tensor BertLayer::finish(const Tensor& context, Tensor x, Random* random) const {
  const Shape rows = x.shape();
  Tensor x1 =
      attention_norm(add_to(std::move(x), attention_out, reshape(context, rows), attention_out_dropout, random));
  const Tensor hidden = up(x1, {.activation = activation});
  return output_norm(add_to(std::move(x1), down, hidden, dropout, random));
}

Tensor BertEmbeddings::operator()(const Tokens& tokens, Random* random) const {
  check(tokens.longest <= position.weight.shape(0), "bert", "expected texts of at most ", position.weight.shape(0),
        " tokens, got one of ", tokens.longest);
  Tensor x = word(tokens.ids) + position(tokens.positions);
  if (token_type) x = x + slice(token_type->weight, 0, 1);
  return random == nullptr ? norm(x) : clip::dropout(norm(x), dropout, *random);
}

Bert::Bert(const BertConfig& c, Init init) : config(c), embeddings(c, init) {
  for (std::int64_t i = 0; i < c.layers; ++i) layers.emplace_back(c, init);
  pooler.emplace(c.size, c.size, init);
}
Bert Bert::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  const BertConfig config = BertConfig::read(folder);
  const SafeTensors file = SafeTensors::open(folder);
  check_model_size(config.parameters(), folder / "config.json", file);
  Bert model(config, Init::none());
  const WeightNames names = weight_names(file.tensors(), file.path(), Architecture::bert);
  if (names.source_of("pooler.dense.weight") == nullptr) model.pooler.reset();
  clip::load(members(model), file, names, device, type);
  return model;
}
HiddenStates Bert::operator()(const Tokens& tokens, Random* random) const {
  return encode(embeddings, layers, tokens, random);
}
Tensor Bert::cls(const Tokens& tokens, Random* random) const { return encode_cls(embeddings, layers, tokens, random); }

DistilBert DistilBert::load(const std::filesystem::path& folder, const Device& device, dtype type) {
  const BertConfig config = BertConfig::read(folder);
  const SafeTensors file = SafeTensors::open(folder);
  check_model_size(config.parameters(), folder / "config.json", file);
  DistilBert model(config, Init::none());
  clip::load(members(model), file, weight_names(file.tensors(), file.path(), Architecture::distilbert), device, type);
  return model;
}
HiddenStates DistilBert::operator()(const Tokens& tokens, Random* random) const {
  return encode(embeddings, layers, tokens, random);
}
Tensor DistilBert::cls(const Tokens& tokens, Random* random) const {
  return encode_cls(embeddings, layers, tokens, random);
}

}  // namespace clip
