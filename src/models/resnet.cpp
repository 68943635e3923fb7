#include "clip/models/resnet.hpp"

#include <string>
#include <utility>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/flip.hpp"
#include "clip/ops/pool.hpp"
#include "clip/ops/view.hpp"
#include "src/io/json.hpp"
#include "src/models/model_size.hpp"

namespace clip {
namespace {

std::vector<std::int64_t> read_list(const JsonFile& json, const std::string& key, std::int64_t highest) {
  const std::string expected = "a list of 1 to 16 integers from 1 to " + std::to_string(highest);
  if (!json.has(key) || !json.json()[key].is_array()) json.wrong(key, expected);
  std::vector<std::int64_t> list;
  for (const Json& value : json.json()[key]) {
    if (!value.is_number_integer() || value < 1 || value > highest) json.wrong(key, expected);
    list.push_back(value.get<std::int64_t>());
  }
  if (list.empty() || list.size() > 16) json.wrong(key, expected);
  return list;
}

}  // namespace

ResNetConfig ResNetConfig::read(const std::filesystem::path& folder) {
  const JsonFile json(folder / "config.json");
  if (json.text("model_type") != "resnet") json.wrong("model_type", "resnet");
  ResNetConfig config;
  const std::string type = json.text("layer_type", "bottleneck");
  if (type != "bottleneck" && type != "basic") json.wrong("layer_type", "bottleneck or basic");
  config.bottleneck = type == "bottleneck";
  config.depths = read_list(json, "depths", 1'000);
  config.widths = read_list(json, "hidden_sizes", 65'536);
  if (config.widths.size() != config.depths.size()) json.wrong("hidden_sizes", "as many entries as 'depths' has");
  config.stem = json.integer("embedding_size", 1, 65'536, 64);
  config.channels = json.integer("num_channels", 1, 65'536, 3);
  config.reduction = json.integer("reduction", 1, 65'536, 4);
  for (const std::int64_t width : config.widths)
    if (config.bottleneck && width % config.reduction != 0)
      json.wrong("hidden_sizes", "multiples of " + std::to_string(config.reduction));
  config.mirrored = json.boolean("mirrored", false);
  if (json.text("hidden_act", "relu") != "relu") json.wrong("hidden_act", "relu");
  for (const char* key : {"downsample_in_first_stage", "downsample_in_bottleneck"})
    if (json.boolean(key, false)) json.wrong(key, "false");
  return config;
}

std::int64_t ResNetConfig::parameters() const {
  const auto conv_norm = [](std::int64_t from, std::int64_t to, std::int64_t kernel) {
    return from * to * kernel * kernel + 4 * to;
  };
  std::int64_t sum = conv_norm(channels, stem, 7), in = stem;
  for (std::size_t s = 0; s < widths.size(); ++s) {
    const std::int64_t out = widths[s], inner = bottleneck ? out / reduction : out;
    const auto block = [&](std::int64_t from) {
      if (!bottleneck) return conv_norm(from, out, 3) + conv_norm(out, out, 3);
      return conv_norm(from, inner, 1) + conv_norm(inner, inner, 3) + conv_norm(inner, out, 1);
    };
    sum += block(in) + (depths[s] - 1) * block(out);
    if (in != out || s > 0) sum += conv_norm(in, out, 1);
    in = out;
  }
  return sum + (classes > 0 ? (in + 1) * classes : 0);
}

ResNetBlock::ResNetBlock(const ResNetConfig& config, std::int64_t in, std::int64_t out, std::int64_t stride, Init init)
    : first(in, config.bottleneck ? out / config.reduction : out, config.bottleneck ? 1 : 3,
            config.bottleneck ? 1 : stride, init),
      second(config.bottleneck ? out / config.reduction : out, config.bottleneck ? out / config.reduction : out, 3,
             config.bottleneck ? stride : 1, init) {
  if (config.bottleneck) third.emplace(out / config.reduction, out, 1, 1, init);
  if (in != out || stride != 1) shortcut.emplace(in, out, 1, stride, init);
}

Tensor ResNetBlock::operator()(Tensor x, Mode mode) {
  Tensor y = first(x, mode, Activation::relu);
  Tensor residual = shortcut ? (*shortcut)(x, mode, Activation::none) : std::move(x);
  if (!third) return second(y, mode, Activation::relu, std::move(residual));
  y = second(y, mode, Activation::relu);
  return (*third)(y, mode, Activation::relu, std::move(residual));
}

void ResNetBlock::fold() {
  first.fold();
  second.fold();
  if (third) third->fold();
  if (shortcut) shortcut->fold();
}

ResNet::ResNet(const ResNetConfig& c, Init init) : config(c), stem(c.channels, c.stem, 7, 2, init) {
  std::int64_t in = c.stem;
  for (std::size_t s = 0; s < c.depths.size(); ++s) {
    std::vector<ResNetBlock>& stage = stages.emplace_back();
    for (std::int64_t i = 0; i < c.depths[s]; ++i) {
      stage.emplace_back(c, in, c.widths[s], i == 0 && s > 0 ? 2 : 1, init);
      in = c.widths[s];
    }
  }
  if (c.classes > 0) classifier.emplace(in, c.classes, init);
}

ResNet ResNet::load(const std::filesystem::path& folder, const Device& device) {
  ResNetConfig config = ResNetConfig::read(folder);
  const SafeTensors file = SafeTensors::open(folder);
  const WeightNames names = weight_names(file.tensors(), file.path(), Architecture::resnet);
  if (const std::string* bias = names.source_of("fc.bias")) config.classes = file.info(*bias).shape.numel();
  check_model_size(config.parameters(), folder / "config.json", file);
  ResNet model(config, Init::none());
  clip::load(members(model), file, names, device);
  return model;
}

ResNet ResNet::folded(dtype type) const {
  ResNet copy = *this;
  copy.stem.fold();
  for (auto& stage : copy.stages)
    for (ResNetBlock& block : stage) block.fold();
  const NoGrad guard;
  for (const Member& member : members(copy)) *member.tensor = to(member.tensor->detach(), type);
  return copy;
}

Tensor ResNet::operator()(const Tensor& images, Mode mode) {
  check(images.rank() == 4 && images.shape(3) == config.channels, "resnet", "expected images [N, H, W, ",
        config.channels, "], got ", images.shape());
  const bool twice = config.mirrored && mode == Mode::inference;
  Tensor x = to(images, stem.conv.weight.dtype());
  if (twice) x = concat({x, flip(x, 2)});
  x = stem(x, mode, Activation::relu);
  x = max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1});
  for (auto& stage : stages)
    for (ResNetBlock& block : stage) x = block(std::move(x), mode);
  x = global_avg_pool(x);
  const std::int64_t n = images.shape(0);
  return twice ? scale(slice(x, 0, n) + slice(x, n, 2 * n), 0.5F) : x;
}

Tensor ResNet::logits(const Tensor& images, Mode mode) {
  check(classifier.has_value(), "resnet", "has no classifier: its weights hold no fc");
  return (*classifier)((*this)(images, mode));
}

}  // namespace clip
