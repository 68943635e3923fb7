#include "tools/weights_convert/config.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "clip/core/error.hpp"

namespace clip {
namespace {

const Shape& shape_of(const Shapes& shapes, const std::string& name, int rank) {
  const auto found = shapes.find(name);
  check(found != shapes.end(), "weights_convert", "the tensor '", name, "' is missing");
  check(found->second.rank() == rank && found->second.numel() > 0, "weights_convert", "expected ", rank,
        " dimensions of '", name, "', got ", found->second);
  return found->second;
}

/// How many of prefix0, prefix1 … there are.
std::int64_t count(const Shapes& shapes, const std::string& prefix, const std::string& suffix, std::int64_t first = 0) {
  std::int64_t n = 0;
  while (shapes.contains(prefix + std::to_string(first + n) + suffix)) ++n;
  return n;
}

Json resnet_config(const Shapes& shapes) {
  const Shape& stem = shape_of(shapes, "conv1.weight", 4);
  check(stem[2] == 7 && stem[3] == 7, "weights_convert", "expected a first convolution of 7x7, got ", stem,
        ": this variant of ResNet is not supported");
  const bool bottleneck = shapes.contains("layer1.0.conv3.weight");
  std::vector<std::int64_t> widths, depths;
  std::int64_t reduction = 0;
  const std::int64_t stages = count(shapes, "layer", ".0.conv1.weight", 1);
  for (std::int64_t s = 1; s <= stages; ++s) {
    const std::string stage = "layer" + std::to_string(s) + '.';
    depths.push_back(count(shapes, stage, ".conv1.weight"));
    const Shape &first = shape_of(shapes, stage + "0.conv1.weight", 4),
                &second = shape_of(shapes, stage + "0.conv2.weight", 4);
    check(second[1] == first[0], "weights_convert", "expected a convolution of ", first[0], " channels, got ", second,
          " for '", stage, "0.conv2.weight': grouped convolutions (ResNeXt) are not supported");
    widths.push_back(bottleneck ? shape_of(shapes, stage + "0.conv3.weight", 4)[0] : second[0]);
    const std::int64_t divided = widths.back() / first[0];
    check(widths.back() == divided * first[0] && (s == 1 || divided == reduction), "weights_convert",
          "expected all stages to narrow their channels alike, got ", first, " in '", stage, "0.conv1.weight'");
    reduction = divided;
  }
  Json config = {{"model_type", "resnet"},
                 {"architectures", {shapes.contains("fc.weight") ? "ResNetForImageClassification" : "ResNetModel"}},
                 {"num_channels", stem[1]},
                 {"embedding_size", stem[0]},
                 {"hidden_sizes", widths},
                 {"depths", depths},
                 {"layer_type", bottleneck ? "bottleneck" : "basic"},
                 {"hidden_act", "relu"},
                 {"downsample_in_first_stage", false},
                 {"downsample_in_bottleneck", false}};
  if (bottleneck) config["reduction"] = reduction;
  return config;
}

/// Heads of 64, as in the published BERTs of these sizes; nothing in the weights tells.
std::int64_t assumed_heads(std::int64_t size, std::vector<std::string>& notes) {
  constexpr std::int64_t published[] = {128, 256, 512, 768, 1024};  // not 384: MiniLM has heads of 32
  check(std::find(std::begin(published), std::end(published), size) != std::end(published), "weights_convert",
        "cannot tell how many heads share ", size, " features: put the model's config.json beside the input");
  notes.push_back(
      "assumed " + std::to_string(size / 64) + " attention heads (" + std::to_string(size) +
      " features / 64): the weights do not tell; put the model's config.json beside the input if it has others");
  return size / 64;
}

Json distilbert_config(const Shapes& shapes, std::vector<std::string>& notes) {
  const Shape& words = shape_of(shapes, "embeddings.word_embeddings.weight", 2);
  return {{"model_type", "distilbert"},
          {"architectures", {"DistilBertModel"}},
          {"vocab_size", words[0]},
          {"dim", words[1]},
          {"max_position_embeddings", shape_of(shapes, "embeddings.position_embeddings.weight", 2)[0]},
          {"n_layers", count(shapes, "transformer.layer.", ".attention.q_lin.weight")},
          {"hidden_dim", shape_of(shapes, "transformer.layer.0.ffn.lin1.weight", 2)[0]},
          {"n_heads", assumed_heads(words[1], notes)},
          {"activation", "gelu"},
          {"sinusoidal_pos_embds", false},
          {"pad_token_id", 0}};
}

Json bert_config(const Shapes& shapes, std::vector<std::string>& notes) {
  const Shape& words = shape_of(shapes, "embeddings.word_embeddings.weight", 2);
  return {{"model_type", "bert"},
          {"architectures", {"BertModel"}},
          {"vocab_size", words[0]},
          {"hidden_size", words[1]},
          {"max_position_embeddings", shape_of(shapes, "embeddings.position_embeddings.weight", 2)[0]},
          {"type_vocab_size", shape_of(shapes, "embeddings.token_type_embeddings.weight", 2)[0]},
          {"num_hidden_layers", count(shapes, "encoder.layer.", ".attention.self.query.weight")},
          {"intermediate_size", shape_of(shapes, "encoder.layer.0.intermediate.dense.weight", 2)[0]},
          {"num_attention_heads", assumed_heads(words[1], notes)},
          {"hidden_act", "gelu"},
          {"layer_norm_eps", 1e-12},
          {"pad_token_id", 0}};
}

}  // namespace

Json infer_config(Architecture architecture, const Shapes& shapes, std::vector<std::string>& notes) {
  switch (architecture) {
    case Architecture::resnet: return resnet_config(shapes);
    case Architecture::distilbert: return distilbert_config(shapes, notes);
    case Architecture::bert: return bert_config(shapes, notes);
    case Architecture::clip:
      fail("weights_convert",
           "cannot tell the activation and the heads of a CLIP: put its config.json beside the input");
  }
  fail("weights_convert", "unknown architecture");
}

std::optional<Preprocess> known_preprocess(std::string_view file_name) {
  constexpr std::pair<std::string_view, Preprocess> files[] = {
      {"resnet18-5c106cde", Preprocess::torchvision_v1},
      {"resnet18-f37072fd", Preprocess::torchvision_v1},
      {"resnet34-333f7ec4", Preprocess::torchvision_v1},
      {"resnet34-b627a593", Preprocess::torchvision_v1},
      {"resnet50-19c8e357", Preprocess::torchvision_v1},
      {"resnet50-0676ba61", Preprocess::torchvision_v1},
      {"resnet101-5d3b4d8f", Preprocess::torchvision_v1},
      {"resnet101-63fe2227", Preprocess::torchvision_v1},
      {"resnet152-b121ed2d", Preprocess::torchvision_v1},
      {"resnet152-394f9c45", Preprocess::torchvision_v1},
      {"wide_resnet50_2-95faca4d", Preprocess::torchvision_v1},
      {"wide_resnet101_2-32ee1156", Preprocess::torchvision_v1},
      {"resnet50-11ad3fa6", Preprocess::torchvision_v2},
      {"resnet101-cd907fc2", Preprocess::torchvision_v2},
      {"resnet152-f82ba261", Preprocess::torchvision_v2},
      {"wide_resnet50_2-9ba9bcbe", Preprocess::torchvision_v2},
      {"wide_resnet101_2-d733dc28", Preprocess::torchvision_v2},
      {"resnet50_a1_0-14fe96d1", Preprocess::timm_a1}};
  for (const auto& [name, preprocess] : files)
    if (file_name.starts_with(name)) return preprocess;
  return std::nullopt;
}

Json preprocessor_config(Preprocess preprocess) {
  struct Recipe {
    const char* weights;
    int resized, resample;  // of the shorter side; Pillow's number: 2 bilinear, 3 bicubic
  };
  const Recipe recipe = preprocess == Preprocess::torchvision_v1   ? Recipe{"torchvision IMAGENET1K_V1", 256, 2}
                        : preprocess == Preprocess::torchvision_v2 ? Recipe{"torchvision IMAGENET1K_V2", 232, 2}
                                                                   : Recipe{"timm a1_in1k", 235, 3};  // 224 / .95
  return {{"weights", recipe.weights},
          {"image_processor_type", "CLIPImageProcessor"},  // the one whose keys these are
          {"pipeline", "torchvision"},                     // how it rounds and when it converts to RGB
          {"do_resize", true},
          {"size", {{"shortest_edge", recipe.resized}}},
          {"resample", recipe.resample},
          {"do_center_crop", true},
          {"crop_size", {{"height", 224}, {"width", 224}}},
          {"do_rescale", true},
          {"rescale_factor", 1. / 255},
          {"do_normalize", true},
          {"image_mean", {.485, .456, .406}},
          {"image_std", {.229, .224, .225}}};
}

}  // namespace clip
