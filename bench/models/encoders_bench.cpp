// Whole encoders, batch 8, random weights, against the sum of their matrix products and convolutions as bare oneDNN
// primitives.
#include "bench/support/limits.hpp"
#include "clip/autograd.hpp"
#include "clip/models/clip.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/ops/cast.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t batch = 8;

/// Tokens of each text are the benchmark's argument.
template <class T>
void distilbert(benchmark::State& state) {
  const NoGrad guard;
  Random random(1);
  const BertConfig config{.token_types = 0, .layers = 6};
  DistilBert model(config, random);
  for (const Member& member : members(model)) *member.tensor = to(*member.tensor, dtype_of<T>);
  const std::int64_t length = state.range(0), rows = batch * length;
  const Tokens tokens =
      Tokens::pack(std::vector(batch, std::vector<std::int32_t>(static_cast<std::size_t>(length), 1000)));
  const std::int64_t d = config.size, f = config.feed_forward;
  report_against_parts(state,
                       {{bare_linear(dtype_of<T>, rows, d, d, Activation::none), 4 * config.layers},
                        {bare_linear(dtype_of<T>, rows, d, f, Activation::gelu), config.layers},
                        {bare_linear(dtype_of<T>, rows, f, d, Activation::none), config.layers}},
                       [&] { benchmark::DoNotOptimize(model(tokens).rows); });
}
BENCHMARK(distilbert<float>)->Arg(32)->Arg(128)->Unit(benchmark::kMillisecond)->Iterations(9);
BENCHMARK(distilbert<bf16>)->Arg(32)->Arg(128)->Unit(benchmark::kMillisecond)->Iterations(15);

/// The image tower of ViT-B/32. Its last layer computes only the class token's row, so its products are small.
template <class T>
void clip_pictures(benchmark::State& state) {
  const NoGrad guard;
  Random random(1);
  const ClipConfig config;
  Clip model(config, random);
  for (const Member& member : members(model)) *member.tensor = to(*member.tensor, dtype_of<T>);
  const Tensor images = rand({batch, config.image_size, config.image_size, 3}, random);
  const std::int64_t d = config.vision.size, f = config.vision.feed_forward, layers = config.vision.layers;
  const std::int64_t rows = batch * config.positions(), patch = config.channels * config.patch * config.patch;
  const auto part = [&](std::int64_t count, std::int64_t in, std::int64_t out, Activation activation,
                        std::int64_t times) {
    return Part{bare_linear(dtype_of<T>, count, in, out, activation), times};
  };
  report_against_parts(
      state,
      {part(rows - batch, patch, d, Activation::none, 1), part(rows, d, d, Activation::none, 4 * layers - 2),
       part(rows, d, f, config.vision.activation, layers - 1), part(rows, f, d, Activation::none, layers - 1),
       part(batch, d, d, Activation::none, 2), part(batch, d, f, config.vision.activation, 1),
       part(batch, f, d, Activation::none, 1), part(batch, d, config.projection, Activation::none, 1)},
      [&] { benchmark::DoNotOptimize(model.embed_images(images)); });
}
BENCHMARK(clip_pictures<float>)->Unit(benchmark::kMillisecond)->Iterations(9);
BENCHMARK(clip_pictures<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void resnet50(benchmark::State& state) {
  const NoGrad guard;
  Random random(1);
  const ResNetConfig config;
  ResNet model = ResNet(config, random).folded(dtype_of<T>);
  const Tensor images = rand({batch, 224, 224, 3}, random);

  std::vector<Part> parts;
  const auto add = [&](std::int64_t times, const ConvSize& size, Activation activation, bool accumulate = false) {
    parts.push_back({bare_conv2d(dtype_of<T>, size, activation, accumulate), times});
  };
  add(1, {batch, 3, 224, config.stem, 7, 2}, Activation::relu);
  std::int64_t in = config.stem, size = 56;
  for (std::size_t s = 0; s < config.depths.size(); ++s) {
    const std::int64_t out = config.widths[s], inner = out / config.reduction, stride = s > 0 ? 2 : 1;
    const std::int64_t more = config.depths[s] - 1, end = size / stride;
    add(1, {batch, in, size, inner, 1, 1}, Activation::relu);
    add(1, {batch, in, size, out, 1, stride}, Activation::none);
    add(1, {batch, inner, size, inner, 3, stride}, Activation::relu);
    add(1 + more, {batch, inner, end, out, 1, 1}, Activation::relu, true);
    add(more, {batch, out, end, inner, 1, 1}, Activation::relu);
    add(more, {batch, inner, end, inner, 3, 1}, Activation::relu);
    in = out;
    size = end;
  }
  report_against_parts(state, parts, [&] { benchmark::DoNotOptimize(model(images)); });
}
BENCHMARK(resnet50<float>)->Unit(benchmark::kMillisecond)->Iterations(9);
BENCHMARK(resnet50<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
