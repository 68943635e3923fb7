#include "clip/io/weight_names.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"

namespace clip {
namespace {

/// In a pattern `#` stands for a number and a `*` at its end for the name of a parameter. In a name `#` is that number,
/// `+` the number and one (Hugging Face counts from 0 where torchvision counts from 1). No name: the pattern's own.
struct Rule {
  std::string_view pattern, name = {};
};

struct Family {
  Architecture architecture;
  std::string_view anchor;  // a tensor that every such model has: what precedes it is the prefix
  std::span<const Rule> rules;
  std::span<const std::string_view> heads;  // first parts of names of what follows the encoder
};

constexpr Rule torchvision_rules[] = {{"conv1.weight"},
                                      {"bn1.*"},
                                      {"layer#.#.conv#.weight"},
                                      {"layer#.#.bn#.*"},
                                      {"layer#.#.downsample.0.weight"},
                                      {"layer#.#.downsample.1.*"},
                                      {"fc.*"}};
constexpr Rule huggingface_resnet_rules[] = {
    {"embedder.embedder.convolution.weight", "conv1.weight"},
    {"embedder.embedder.normalization.*", "bn1.*"},
    {"encoder.stages.#.layers.#.layer.#.convolution.weight", "layer+.#.conv+.weight"},
    {"encoder.stages.#.layers.#.layer.#.normalization.*", "layer+.#.bn+.*"},
    {"encoder.stages.#.layers.#.shortcut.convolution.weight", "layer+.#.downsample.0.weight"},
    {"encoder.stages.#.layers.#.shortcut.normalization.*", "layer+.#.downsample.1.*"}};
constexpr Rule distilbert_rules[] = {{"embeddings.word_embeddings.weight"},
                                     {"embeddings.position_embeddings.weight"},
                                     {"embeddings.LayerNorm.*"},
                                     {"transformer.layer.#.attention.q_lin.*"},
                                     {"transformer.layer.#.attention.k_lin.*"},
                                     {"transformer.layer.#.attention.v_lin.*"},
                                     {"transformer.layer.#.attention.out_lin.*"},
                                     {"transformer.layer.#.sa_layer_norm.*"},
                                     {"transformer.layer.#.ffn.lin1.*"},
                                     {"transformer.layer.#.ffn.lin2.*"},
                                     {"transformer.layer.#.output_layer_norm.*"}};
constexpr Rule bert_rules[] = {{"embeddings.word_embeddings.weight"},
                               {"embeddings.position_embeddings.weight"},
                               {"embeddings.token_type_embeddings.weight"},
                               {"embeddings.LayerNorm.*"},
                               {"encoder.layer.#.attention.self.query.*"},
                               {"encoder.layer.#.attention.self.key.*"},
                               {"encoder.layer.#.attention.self.value.*"},
                               {"encoder.layer.#.attention.output.dense.*"},
                               {"encoder.layer.#.attention.output.LayerNorm.*"},
                               {"encoder.layer.#.intermediate.dense.*"},
                               {"encoder.layer.#.output.dense.*"},
                               {"encoder.layer.#.output.LayerNorm.*"},
                               {"pooler.dense.*"}};
constexpr Rule clip_rules[] = {{"logit_scale"},
                               {"text_projection.weight"},
                               {"visual_projection.weight"},
                               {"text_model.embeddings.token_embedding.weight"},
                               {"text_model.embeddings.position_embedding.weight"},
                               {"text_model.encoder.layers.#.self_attn.q_proj.*"},
                               {"text_model.encoder.layers.#.self_attn.k_proj.*"},
                               {"text_model.encoder.layers.#.self_attn.v_proj.*"},
                               {"text_model.encoder.layers.#.self_attn.out_proj.*"},
                               {"text_model.encoder.layers.#.layer_norm#.*"},
                               {"text_model.encoder.layers.#.mlp.fc#.*"},
                               {"text_model.final_layer_norm.*"},
                               {"vision_model.embeddings.class_embedding"},
                               {"vision_model.embeddings.patch_embedding.weight"},
                               {"vision_model.embeddings.position_embedding.weight"},
                               {"vision_model.pre_layrnorm.*"},
                               {"vision_model.encoder.layers.#.self_attn.q_proj.*"},
                               {"vision_model.encoder.layers.#.self_attn.k_proj.*"},
                               {"vision_model.encoder.layers.#.self_attn.v_proj.*"},
                               {"vision_model.encoder.layers.#.self_attn.out_proj.*"},
                               {"vision_model.encoder.layers.#.layer_norm#.*"},
                               {"vision_model.encoder.layers.#.mlp.fc#.*"},
                               {"vision_model.post_layernorm.*"},
                               {"vision_model.conv#.weight"},  // from here on: OpenAI's ResNets
                               {"vision_model.bn#.*"},
                               {"vision_model.layer#.#.conv#.weight"},
                               {"vision_model.layer#.#.bn#.*"},
                               {"vision_model.layer#.#.downsample.0.weight"},
                               {"vision_model.layer#.#.downsample.1.*"},
                               {"vision_model.attnpool.positional_embedding"},
                               {"vision_model.attnpool.q_proj.*"},
                               {"vision_model.attnpool.k_proj.*"},
                               {"vision_model.attnpool.v_proj.*"},
                               {"vision_model.attnpool.c_proj.*"}};
constexpr std::string_view resnet_heads[] = {"fc.", "head.", "classifier."};
constexpr std::string_view text_heads[] = {"cls.",
                                           "classifier.",
                                           "pre_classifier.",
                                           "qa_outputs.",
                                           "vocab_transform.",
                                           "vocab_layer_norm.",
                                           "vocab_projector."};

constexpr Family families[] = {
    {Architecture::resnet, "layer1.0.conv1.weight", torchvision_rules, resnet_heads},
    {Architecture::resnet, "encoder.stages.0.layers.0.layer.0.convolution.weight", huggingface_resnet_rules,
     resnet_heads},
    {Architecture::distilbert, "transformer.layer.0.attention.q_lin.weight", distilbert_rules, text_heads},
    {Architecture::bert, "encoder.layer.0.attention.self.query.weight", bert_rules, text_heads},
    {Architecture::clip, "text_model.final_layer_norm.weight", clip_rules, {}}};

constexpr std::string_view parameters[] = {"weight", "bias", "running_mean", "running_var", "gamma", "beta"};

/// The name that `rule` gives a tensor; empty when it is about others.
std::string new_name(const Rule& rule, std::string_view tensor) {
  std::vector<std::string_view> numbers;
  std::string_view parameter;
  for (const char c : rule.pattern) {
    if (c == '#') {
      const std::string_view digits = tensor.substr(0, std::min(tensor.find_first_not_of("0123456789"), tensor.size()));
      if (digits.empty() || digits.size() > 4 || (digits.size() > 1 && digits[0] == '0')) return {};
      numbers.push_back(digits);
      tensor.remove_prefix(digits.size());
    } else if (c == '*') {
      if (std::find(std::begin(parameters), std::end(parameters), tensor) == std::end(parameters)) return {};
      parameter = tensor == "gamma" ? "weight" : tensor == "beta" ? "bias" : tensor;
      tensor = {};
    } else {
      if (!tensor.starts_with(c)) return {};
      tensor.remove_prefix(1);
    }
  }
  if (!tensor.empty()) return {};

  std::string name;
  auto number = numbers.begin();
  for (const char c : rule.name.empty() ? rule.pattern : rule.name) {
    if (c == '#') {
      name += *number++;
    } else if (c == '+') {
      int value = 0;
      std::from_chars(number->data(), number->data() + number->size(), value);
      name += std::to_string(value + 1);
      ++number;
    } else if (c == '*') {
      name += parameter;
    } else {
      name += c;
    }
  }
  return name;
}
std::string first_name(std::span<const Rule> rules, std::string_view tensor) {
  for (const Rule& rule : rules)
    if (std::string name = new_name(rule, tensor); !name.empty()) return name;
  return {};
}

struct Found {
  const Family* family;
  std::string_view prefix;
};

/// The one model among `tensors`.
Found find_model(std::span<const TensorInfo> tensors, const std::string& file, std::optional<Architecture> wanted) {
  std::vector<Found> found;
  for (const TensorInfo& tensor : tensors)
    for (const Family& family : families) {
      const std::string_view name = tensor.name;
      if (!name.ends_with(family.anchor) || (wanted && family.architecture != *wanted)) continue;
      const std::string_view prefix = name.substr(0, name.size() - family.anchor.size());
      if (prefix.empty() || prefix.ends_with('.')) found.push_back({&family, prefix});
    }
  if (found.empty()) {
    const std::string sought = wanted ? std::string(name_of(*wanted)) : "ResNet, DistilBERT, BERT or CLIP";
    fail("weights", "expected the tensors of a ", sought, " in ", file, ", got ", tensors.size(), " others",
         tensors.empty() ? "" : ", the first '" + printable(tensors[0].name) + "'");
  }
  if (found.size() > 1) {
    const auto shown = [](const Found& one) {
      return std::string(name_of(one.family->architecture)) + " with prefix '" + printable(one.prefix) + "'";
    };
    fail("weights", file, " holds more than one model: a ", shown(found[0]), " and a ", shown(found[1]),
         "; say which architecture is wanted, or split the file");
  }
  for (const std::string_view other : {"roberta.", "electra."})  // same names, but not the same computation
    check(!found[0].prefix.ends_with(other), "weights", file, " holds a model of another architecture: '",
          printable(found[0].prefix), "'");
  return found[0];
}

}  // namespace

const std::string* WeightNames::source_of(std::string_view name) const {
  const auto found = std::find_if(mapped.begin(), mapped.end(), [&](const Mapped& one) { return one.name == name; });
  return found == mapped.end() ? nullptr : &found->source;
}

WeightNames weight_names(std::span<const TensorInfo> tensors, const std::filesystem::path& file,
                         std::optional<Architecture> wanted) {
  const std::string shown = quoted(file);
  const auto [family, prefix] = find_model(tensors, shown, wanted);
  const std::string_view resnet = "resnet.";  // Hugging Face's classifier stands beside this prefix, not behind it
  const std::string classifier =
      std::string(prefix.substr(0, prefix.size() - (prefix.ends_with(resnet) ? resnet.size() : 0))) + "classifier.1.";

  WeightNames names;
  names.architecture = family->architecture;
  std::vector<std::string_view> unexpected;
  for (const TensorInfo& tensor : tensors) {
    const std::string_view source = tensor.name;
    const bool inside = source.starts_with(prefix);
    const std::string_view inner = inside ? source.substr(prefix.size()) : source;
    const auto is_head = [inner = inner](std::string_view head) { return inner.starts_with(head); };
    std::string name = inside ? first_name(family->rules, inner) : "";
    if (name.empty() && family->architecture == Architecture::resnet && source.starts_with(classifier))
      name = new_name(Rule{"*", "fc.*"}, source.substr(classifier.size()));
    if (!name.empty())
      names.mapped.push_back({std::move(name), tensor.name});
    else if (!inside)
      names.left_out.push_back({tensor.name, "not of the encoder '" + std::string(prefix) + "'"});
    else if (inner.ends_with(".num_batches_tracked"))
      names.left_out.push_back({tensor.name, "a counter that only training uses"});
    else if (inner.ends_with("embeddings.position_ids") || inner == "embeddings.token_type_ids")
      names.left_out.push_back({tensor.name, "a constant"});
    else if (std::any_of(family->heads.begin(), family->heads.end(), is_head))
      names.left_out.push_back({tensor.name, "a head"});
    else
      unexpected.push_back(source);
  }
  if (!unexpected.empty()) {
    std::string list;
    for (std::size_t i = 0; i < std::min<std::size_t>(unexpected.size(), 10); ++i)
      list += (i == 0 ? "'" : ", '") + printable(unexpected[i]) + "'";
    fail("weights", shown, " has ", unexpected.size(), " tensors that a ", name_of(family->architecture),
         " does not have: ", list, unexpected.size() > 10 ? " …" : "");
  }

  std::set<std::string_view> taken;
  for (const WeightNames::Mapped& one : names.mapped)
    check(taken.insert(one.name).second, "weights", "two tensors of ", shown, " would be '", one.name,
          "', the second is '", printable(one.source), "'");
  return names;
}

bool is_weights_file(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  constexpr std::string_view endings[] = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".index.json"};
  return std::any_of(std::begin(endings), std::end(endings), [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace clip
