#include "clip/models/clip_resnet.hpp"

#include <utility>

#include "clip/core/error.hpp"
#include "clip/ops/activation.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/attention.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/view.hpp"

namespace clip {
namespace {

constexpr std::int64_t expansion = 4;  // of a block's channels

/// The mean over squares of this size.
Tensor average(const Tensor& x, std::int64_t size) {
  if (size == 1) return x;
  const Shape squares{x.shape(0), x.shape(1) / size, size, x.shape(2) / size, size, x.shape(3)};
  return mean(reshape(x, squares), {2, 4});
}

/// In inference; its running statistics stay.
Tensor apply(const ConvNorm& layer, const Tensor& x, Activation f) {
  ConvNorm shared = layer;
  return shared(x, Mode::inference, f);
}

}  // namespace

std::int64_t ClipResNetConfig::parameters(std::int64_t out) const {
  const auto conv_norm = [](std::int64_t from, std::int64_t to, std::int64_t kernel) {
    return from * to * kernel * kernel + 4 * to;
  };
  std::int64_t sum = conv_norm(3, width / 2, 3) + conv_norm(width / 2, width / 2, 3) + conv_norm(width / 2, width, 3);
  std::int64_t in = width, inner = width;
  for (const std::int64_t depth : depths) {
    for (std::int64_t i = 0; i < depth; ++i) {
      sum += conv_norm(in, inner, 1) + conv_norm(inner, inner, 3) + conv_norm(inner, inner * expansion, 1);
      if (i == 0) sum += conv_norm(in, inner * expansion, 1);
      in = inner * expansion;
    }
    inner *= 2;
  }
  return sum + positions() * in + 3 * (in * in + in) + in * out + out;
}

ClipResNetBlock::ClipResNetBlock(std::int64_t in, std::int64_t inner, std::int64_t step, Init init)
    : first(in, inner, 1, 1, init),
      second(inner, inner, 3, 1, init),
      third(inner, inner * expansion, 1, 1, init),
      stride(step) {
  if (in != inner * expansion || step > 1) shortcut.emplace(in, inner * expansion, 1, 1, init);
}

Tensor ClipResNetBlock::operator()(const Tensor& x) const {
  const Tensor inner = apply(second, apply(first, x, Activation::relu), Activation::relu);
  const Tensor y = apply(third, average(inner, stride), Activation::none);
  return relu(y + (shortcut ? apply(*shortcut, average(x, stride), Activation::none) : x));
}

AttentionPool::AttentionPool(const ClipResNetConfig& config, std::int64_t size, Init init)
    : position(init.normal({config.positions(), config.channels()}, 0.02f)),
      query(config.channels(), config.channels(), init),
      key(config.channels(), config.channels(), init),
      value(config.channels(), config.channels(), init),
      out(config.channels(), size, init),
      heads(config.heads) {}

Tensor AttentionPool::operator()(const Tensor& x) const {
  const std::int64_t count = x.shape(0), channels = x.shape(3), length = position.shape(0), dim = channels / heads;
  const Tensor cells = reshape(x, {count, length - 1, channels});
  const Tensor all = concat({mean(cells, {1}, true), cells}, 1) + position;
  const Shape split{count, length, heads, dim};
  const Tensor y = attention(reshape(query(slice(all, 0, 1, 1)), {count, 1, heads, dim}), reshape(key(all), split),
                             reshape(value(all), split));
  return out(reshape(y, {count, channels}));
}

ClipResNet::ClipResNet(const ClipResNetConfig& config, std::int64_t size, Init init)
    : image_size(config.image_size),
      stem1(3, config.width / 2, 3, 2, init),
      stem2(config.width / 2, config.width / 2, 3, 1, init),
      stem3(config.width / 2, config.width, 3, 1, init),
      pool(config, size, init) {
  std::int64_t in = config.width, inner = config.width;
  for (const std::int64_t depth : config.depths) {
    std::vector<ClipResNetBlock>& stage = stages.emplace_back();
    for (std::int64_t i = 0; i < depth; ++i) {
      stage.emplace_back(in, inner, i == 0 && stages.size() > 1 ? 2 : 1, init);
      in = inner * expansion;
    }
    inner *= 2;
  }
}

Tensor ClipResNet::operator()(const Tensor& images) const {
  check(images.rank() == 4 && images.shape(1) == image_size && images.shape(2) == image_size && images.shape(3) == 3,
        "clip", "expected images [N, ", image_size, ", ", image_size, ", 3], got ", images.shape());
  Tensor x = to(images, stem1.conv.weight.dtype());
  for (const ConvNorm* stem : {&stem1, &stem2, &stem3}) x = apply(*stem, x, Activation::relu);
  x = average(x, 2);
  for (const auto& stage : stages)
    for (const ClipResNetBlock& block : stage) x = block(x);
  return pool(x);
}

}  // namespace clip
