// Bound by memory: a step reads a parameter, its gradient and two means, and writes all but the gradient: 28 bytes, and
// reads gradients once more to clip them. The smaller size is that of two projection heads, whose 24 MB stay in an
// H100's L2 cache, so that what counts is how often something is launched; the larger is a DistilBERT's and a
// ResNet50's, 2.6 GB a step: 0.87 ms at 3.0 TB/s.
#include "clip/train/optimizer.hpp"

#include "bench/support/device_time.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

/// Parameters of 160 equal tensors; 1 as the second argument clips.
void adamw(benchmark::State& state) {
  constexpr std::int64_t tensors = 160;
  const std::int64_t count = sized(state.range(0), 16000) / tensors;
  const double max_norm = state.range(1) == 1 ? 1 : 0;
  std::vector<Tensor> parameters;
  for (std::int64_t i = 0; i < tensors; ++i) parameters.push_back(random_on_gpu({count}, dtype::f32).requires_grad());
  const Tensor gradient = random_on_gpu({tensors * count}, dtype::f32);
  AdamW optimizer(parameters);
  report_device_bandwidth(state, (28 + (max_norm > 0 ? 4 : 0)) * tensors * count, [&] {
    return [&] {
      for (std::int64_t i = 0; i < tensors; ++i)
        parameters[static_cast<std::size_t>(i)].set_grad(gradient.view(i * count, {count}));
      optimizer.step(max_norm);
    };
  });
}
GPU_BENCHMARK(adamw)->ArgNames({"parameters", "clip"})->ArgsProduct({{852'480, 92'000'000}, {0, 1}});

}  // namespace
