// Bound by arithmetic, but for 1x1 kernels on large images. The peer is the bare oneDNN primitive on weights packed
// before.
#include "clip/ops/conv2d.hpp"

#include "bench/support/limits.hpp"
#include "bench/support/primitives.hpp"
#include "clip/autograd.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

/// Channels in, image size, channels out, kernel, stride are the benchmark's arguments; eight images, with ReLU.
template <class T>
void conv2d_forward(benchmark::State& state) {
  const std::int64_t n = 8, in = state.range(0), size = state.range(1), out = state.range(2), kernel = state.range(3),
                     stride = state.range(4);
  Random random(1);
  const Tensor x = randn({n, size, size, in}, random, dtype_of<T>);
  const Tensor w = randn({out, in, kernel, kernel}, random, dtype_of<T>), bias = randn({out}, random, dtype_of<T>);

  const Primitive peer = bare_conv2d(dtype_of<T>, {n, in, size, out, kernel, stride}, Activation::relu);
  const Conv2dOptions options{.stride = stride, .padding = kernel / 2, .activation = Activation::relu};
  report_against(
      state, peer.flops, [&] { benchmark::DoNotOptimize(conv2d(x, w, bias, options)); }, peer.run);
}

/// ResNet50's first convolution and those of its blocks.
void sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({3, 224, 64, 7, 2})->Args({64, 56, 64, 3, 1})->Args({256, 56, 64, 1, 1})->Args({64, 56, 256, 1, 1});
  bench->Args({512, 7, 512, 3, 1})->Args({256, 56, 512, 1, 2})->Unit(benchmark::kMillisecond)->Iterations(25);
}
BENCHMARK(conv2d_forward<float>)->Apply(sizes);
BENCHMARK(conv2d_forward<bf16>)->Apply(sizes);

}  // namespace
