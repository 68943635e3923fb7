// Bound by arithmetic, but for 1x1 kernels on large images. Forward's peer is the bare oneDNN primitive on weights
// packed before.
#include "clip/ops/conv2d.hpp"

#include "bench/support/limits.hpp"
#include "bench/support/primitives.hpp"
#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "kernels/conv2d.hpp"

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

/// The same arguments; 256 images.
template <class T>
void conv2d_backward_weights(benchmark::State& state) {
  const kernels::Conv2dShape s{.n = 256,
                               .h = state.range(1),
                               .w = state.range(1),
                               .in = state.range(0),
                               .out = state.range(2),
                               .kernel_h = state.range(3),
                               .kernel_w = state.range(3),
                               .stride = state.range(4),
                               .padding = state.range(3) / 2};
  Random random(1);
  const Tensor x = randn({s.n, s.h, s.w, s.in}, random, dtype_of<T>);
  const Tensor dy = randn({s.n, s.out_h(), s.out_w(), s.out}, random, dtype_of<T>);
  Tensor dw({s.out, s.in, s.kernel_h, s.kernel_w}, dtype_of<T>);
  T* out = dw.mutable_data<T>();
  report_flops(state, 2 * dy.numel() * s.in * s.kernel_h * s.kernel_w,
               [&] { kernels::cpu::conv2d_backward_weights(out, dy.data<T>(), x.data<T>(), s); });
}

/// A ResNet-18's of width 32 for images of 64 pixels.
void small_sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({3, 64, 32, 7, 2})->Args({32, 16, 32, 3, 1})->Args({32, 16, 64, 3, 2})->Args({64, 8, 64, 3, 1});
  bench->Args({64, 8, 128, 3, 2})->Args({128, 4, 128, 3, 1})->Args({128, 4, 256, 3, 2})->Args({256, 2, 256, 3, 1});
  bench->Unit(benchmark::kMillisecond)->Iterations(15);
}
BENCHMARK(conv2d_backward_weights<float>)->Apply(small_sizes);
BENCHMARK(conv2d_backward_weights<bf16>)->Apply(small_sizes);

}  // namespace
