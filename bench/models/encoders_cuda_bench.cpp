// Whole encoders in bf16 with random weights. A batch of 256 is bound by arithmetic: an item is 8.18 GFLOP for ResNet50
// at 224 x 224, 11.17 for DistilBERT with 128 tokens and 8.24 for CLIP ViT-B/32's image tower. Targets: 40,000 pictures
// a second with ResNet50, 327 TFLOP/s or 41 % of the 790 that cuBLASLt reaches; 40,000 texts, 447 TFLOP/s or 57 %;
// 50,000 pictures with CLIP, 412 TFLOP/s or 52 %. Neither erf nor quick GELU is one of cuBLASLt's, so each layer's is a
// pass over what its first product has rounded: DistilBERT's 6 over [32768, 3072] read and write 2.4 GB, 0.81 ms at 3.0
// TB/s of the 6.4 that 256 texts may take, which leaves the rest 5.6 ms, 65 % of the rate; CLIP's 12 over [12800, 3072]
// 1.9 GB, 0.63 of 5.1 ms, and the rest 59 %. One item alone reads weights for 15 to 60 us; the target of 350 us is for
// one kernel after another.
#include "bench/support/device_time.hpp"
#include "clip/autograd.hpp"
#include "clip/models/clip.hpp"
#include "clip/models/distilbert.hpp"
#include "clip/models/resnet.hpp"
#include "clip/ops/cast.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

template <class Module>
void move_to_gpu(Module& model, dtype type) {
  for (const Member& member : members(model)) *member.tensor = to(to(*member.tensor, type), gpu());
}

void report_items(benchmark::State& state, double gflop_an_item, const Work& work) {
  const auto batch = static_cast<double>(state.range(0));
  const double seconds = report_device_flops(state, 1e9 * gflop_an_item * batch, work);
  state.counters["items_per_second"] = batch / seconds;
}

void batches(benchmark::internal::Benchmark* bench) { bench->ArgName("batch")->Arg(1)->Arg(256); }

void resnet50(benchmark::State& state) {
  const NoGrad guard;
  Random random(1);
  const ResNetConfig config{.depths = {sized(3, 1), sized(4, 1), sized(6, 1), sized(3, 1)},
                            .widths = {sized(256, 16), sized(512, 16), sized(1024, 16), sized(2048, 16)},
                            .stem = sized(64, 8)};
  ResNet model = ResNet(config, random).folded(dtype::bf16);
  move_to_gpu(model, dtype::bf16);
  const std::int64_t side = sized(224, 32);
  const Tensor images = random_on_gpu({sized(state.range(0), 2), side, side, 3}, dtype::bf16);
  report_items(state, 8.18, replayed([&] { model(images); }));
}
GPU_BENCHMARK(resnet50)->Apply(batches);

void distilbert(benchmark::State& state) {
  const NoGrad guard;
  Random random(1);
  const BertConfig config{.token_types = 0,
                          .size = sized(768, 32),
                          .feed_forward = sized(3072, 64),
                          .layers = sized(6, 1),
                          .heads = sized(12, 2)};
  DistilBert model(config, random);
  move_to_gpu(model, dtype::bf16);
  const std::vector<std::int32_t> text(static_cast<std::size_t>(sized(128, 5)), 1000);
  const Tokens tokens = Tokens::pack(std::vector(static_cast<std::size_t>(sized(state.range(0), 2)), text), gpu());
  report_items(state, 11.17, replayed([&] { model(tokens); }));
}
GPU_BENCHMARK(distilbert)->Apply(batches);

void clip_pictures(benchmark::State& state) {
  const NoGrad guard;
  Random random(1);
  const ClipConfig config{.vision = {.size = sized(768, 32),
                                     .feed_forward = sized(3072, 64),
                                     .layers = sized(12, 1),
                                     .heads = sized(12, 2)},
                          .image_size = sized(224, 64)};
  Clip model(config, random);
  move_to_gpu(model, dtype::bf16);
  const Tensor images = random_on_gpu({sized(state.range(0), 2), config.image_size, config.image_size, 3}, dtype::f32);
  report_items(state, 8.24, replayed([&] { model.embed_images(images); }));
}
GPU_BENCHMARK(clip_pictures)->Apply(batches);

}  // namespace
