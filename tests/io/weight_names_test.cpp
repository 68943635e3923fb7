#include "clip/io/weight_names.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

std::vector<TensorInfo> named(const std::vector<std::string>& names) {
  std::vector<TensorInfo> tensors;
  for (const std::string& name : names) tensors.push_back({name, "F32", {}, 4});
  return tensors;
}
WeightNames map(const std::vector<std::string>& names, std::optional<Architecture> wanted = {}) {
  return weight_names(named(names), "model.bin", wanted);
}
using Pairs = std::vector<std::pair<std::string, std::string>>;
Pairs mapped(const WeightNames& names) {
  Pairs pairs;
  for (const auto& one : names.mapped) pairs.emplace_back(one.source, one.name);
  return pairs;
}
Pairs left_out(const WeightNames& names) {
  Pairs pairs;
  for (const auto& one : names.left_out) pairs.emplace_back(one.source, one.reason);
  return pairs;
}

}  // namespace

TEST_CASE("a ResNet's names are torchvision's, whoever wrote the file", "[io]") {
  const WeightNames torchvision =
      map({"module.conv1.weight", "module.bn1.running_var", "module.bn1.num_batches_tracked",
           "module.layer1.0.conv1.weight", "module.layer4.22.downsample.1.bias", "module.fc.bias", "epoch"});
  CHECK(torchvision.architecture == Architecture::resnet);
  CHECK(mapped(torchvision) == Pairs{{"module.conv1.weight", "conv1.weight"},
                                     {"module.bn1.running_var", "bn1.running_var"},
                                     {"module.layer1.0.conv1.weight", "layer1.0.conv1.weight"},
                                     {"module.layer4.22.downsample.1.bias", "layer4.22.downsample.1.bias"},
                                     {"module.fc.bias", "fc.bias"}});
  CHECK(left_out(torchvision) == Pairs{{"module.bn1.num_batches_tracked", "a counter that only training uses"},
                                       {"epoch", "not of the encoder 'module.'"}});

  const std::string anchor = "encoder.stages.0.layers.0.layer.0.convolution.weight";
  for (const std::string prefix : {"", "resnet."}) {
    const WeightNames hub =
        map({prefix + "embedder.embedder.convolution.weight", prefix + "embedder.embedder.normalization.running_mean",
             prefix + anchor, prefix + "encoder.stages.3.layers.12.layer.2.normalization.weight",
             prefix + "encoder.stages.1.layers.0.shortcut.convolution.weight",
             prefix + "encoder.stages.1.layers.0.shortcut.normalization.bias", "classifier.1.weight"});
    CHECK(hub.architecture == Architecture::resnet);
    std::vector<std::string> names;
    for (const auto& one : hub.mapped) names.push_back(one.name);
    CHECK(names == std::vector<std::string>{"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight",
                                            "layer4.12.bn3.weight", "layer2.0.downsample.0.weight",
                                            "layer2.0.downsample.1.bias", "fc.weight"});
  }
}

TEST_CASE("DistilBERT and BERT lose prefix and heads, and LayerNorm its old names", "[io]") {
  const WeightNames distilbert = map({"distilbert.embeddings.LayerNorm.gamma", "distilbert.embeddings.LayerNorm.beta",
                                      "distilbert.transformer.layer.0.attention.q_lin.weight", "vocab_projector.bias",
                                      "distilbert.embeddings.position_ids"});
  CHECK(distilbert.architecture == Architecture::distilbert);
  CHECK(mapped(distilbert) ==
        Pairs{{"distilbert.embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"},
              {"distilbert.embeddings.LayerNorm.beta", "embeddings.LayerNorm.bias"},
              {"distilbert.transformer.layer.0.attention.q_lin.weight", "transformer.layer.0.attention.q_lin.weight"}});
  CHECK(left_out(distilbert) == Pairs{{"vocab_projector.bias", "not of the encoder 'distilbert.'"},
                                      {"distilbert.embeddings.position_ids", "a constant"}});

  const WeightNames bert =
      map({"encoder.layer.0.attention.self.query.weight", "encoder.layer.11.output.LayerNorm.gamma",
           "pooler.dense.bias", "cls.predictions.decoder.weight"});
  CHECK(bert.architecture == Architecture::bert);
  CHECK(bert.mapped[1].name == "encoder.layer.11.output.LayerNorm.weight");
  CHECK(bert.mapped[2].name == "pooler.dense.bias");
  CHECK(left_out(bert) == Pairs{{"cls.predictions.decoder.weight", "a head"}});
}

TEST_CASE("files with no model, several, or tensors of another are refused", "[io]") {
  const std::string bert = "encoder.layer.0.attention.self.query.weight", resnet = "layer1.0.conv1.weight";
  CHECK(throws_with([&] { map({}); }, "got 0 others"));
  CHECK(throws_with([&] { map({"a\nb"}); }, "the first 'a\\x0ab'"));
  CHECK(throws_with([&] { map({"x" + resnet}); }, "got 1 others"));
  CHECK(throws_with([&] { map({bert}, Architecture::resnet); }, "tensors of a resnet in 'model.bin'"));
  CHECK(throws_with([&] { map({"text." + bert, "image." + resnet}); }, "more than one model"));
  CHECK(throws_with([&] { map({"a." + resnet, "b." + resnet}); }, "more than one model"));
  CHECK(throws_with([&] { map({"roberta." + bert}); }, "another architecture"));
  CHECK(throws_with(
      [&] {
        map({resnet, "layer1.0.se.fc1.weight"});
      },
      "1 tensors that a resnet does not have: 'layer1.0.se"));
  CHECK(throws_with([&] { map({resnet, "layer01.0.conv1.weight"}); }, "does not have"));
  CHECK(throws_with([&] { map({resnet, "layer123456789012345678901.0.conv1.weight"}); }, "does not have"));
  CHECK(throws_with([&] { map({resnet, "bn1.more"}); }, "does not have"));
  CHECK(throws_with(
      [&] {
        map({bert, "embeddings.LayerNorm.gamma", "embeddings.LayerNorm.weight"});
      },
      "would be 'embeddings.LayerNorm.weight'"));
  const WeightNames one = map({"text." + bert, "image." + resnet}, Architecture::bert);
  CHECK(mapped(one) == Pairs{{"text." + bert, bert}});
  CHECK(left_out(one).size() == 1);
}
