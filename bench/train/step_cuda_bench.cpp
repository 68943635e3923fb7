// A step of training both heads on cached features in f32, batch 32, as train_flickr8k does, as one graph: 0.85 M
// parameters.
// Memory: the optimizer moves 24 MB, forward and backward read the weights three times and write their gradients, 14
// MB: all of it in an H100's L2 cache. At about 5.5 TB/s from there 7 us.
// Launches (tests/host_cuda/wait_test.cpp counts them): 4 for each head forward and 6 backward, of which five are
// products; 4 for the loss; temperature, the first gradient and its product with those of the pairs: 27, and 3
// of the optimizer. One after another each may take 1.2 us of the target's 40. That is about what an empty kernel takes
// in a graph, and these also wait for memory, 0.6 us a round trip: by arithmetic 42 to 56 us, and more where cuBLASLt
// splits sums. The heads do not need each other: as branches of the graph, which this is not, the longest way would be
// 20 launches.
#include "bench/support/device_time.hpp"
#include "clip/autograd.hpp"
#include "clip/nn/projection_head.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/train/optimizer.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

struct Heads {
  ProjectionHead text, image;
  void visit(auto&& v) {
    v("text_projection", text);
    v("image_projection", image);
  }
};

void head_training_step(benchmark::State& state) {
  Random random(1);
  Heads heads{{768, 256, random}, {2048, 256, random}};
  for (const Member& member : members(heads)) *member.tensor = to(*member.tensor, gpu());
  requires_grad(heads);
  const std::vector<Tensor> weights = parameters(heads);
  AdamW optimizer(weights, {.lr = 1e-3, .weight_decay = 1e-3});
  const std::int64_t batch = state.range(0);
  const Tensor text = random_on_gpu({batch, 768}, dtype::f32), image = random_on_gpu({batch, 2048}, dtype::f32);
  report_time(state, replayed([&] {
                backward(soft_target_loss(heads.text(text, &random), heads.image(image, &random)));
                optimizer.step();
              }));
}
GPU_BENCHMARK(head_training_step)->ArgName("batch")->Arg(32);

}  // namespace
