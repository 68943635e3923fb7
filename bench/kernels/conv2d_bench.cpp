// Bound by arithmetic, but for 1x1 kernels on large images. The peer is the bare oneDNN primitive on weights packed
// before.
#include "clip/ops/conv2d.hpp"

#include "bench/support/limits.hpp"
#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "kernels/cpu/onednn.hpp"

namespace {

using namespace clip;
using namespace clip::bench;
using namespace clip::kernels::cpu;

/// Channels in, image size, channels out, kernel, stride are the benchmark's arguments; eight images, with ReLU.
template <class T>
void conv2d_forward(benchmark::State& state) {
  const std::int64_t n = 8, in = state.range(0), size = state.range(1), out = state.range(2), kernel = state.range(3),
                     stride = state.range(4), padding = kernel / 2, end = (size + 2 * padding - kernel) / stride + 1;
  Random random(1);
  const Tensor x = randn({n, size, size, in}, random, dtype_of<T>);
  const Tensor w = randn({out, in, kernel, kernel}, random, dtype_of<T>), bias = randn({out}, random, dtype_of<T>);

  using dnnl::memory;
  constexpr auto type = onednn::type_of<T>;
  const memory::desc x_desc({n, in, size, size}, type, onednn::Tag::nhwc),
      y_desc({n, out, end, end}, type, onednn::Tag::nhwc);
  const memory::desc w_desc({out, in, kernel, kernel}, type, onednn::Tag::oihw), bias_desc({out}, type, onednn::Tag::a);
  const auto desc = onednn::describe<dnnl::convolution_forward>(
      onednn::attributes(false, Activation::relu), dnnl::prop_kind::forward_inference,
      dnnl::algorithm::convolution_direct, x_desc, memory::desc({out, in, kernel, kernel}, type, onednn::Tag::any),
      bias_desc, y_desc, memory::dims{stride, stride}, memory::dims{padding, padding}, memory::dims{padding, padding});
  const dnnl::convolution_forward peer(desc);
  Tensor y({n, end, end, out}, dtype_of<T>);
  const auto wrap = [](const memory::desc& as, const Tensor& t) {
    return memory(as, onednn::engine(), const_cast<void*>(t.raw()));
  };
  memory packed(desc.weights_desc(), onednn::engine()), plain = wrap(w_desc, w);
  dnnl::reorder(plain, packed).execute(onednn::stream(), plain, packed);
  const std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, wrap(x_desc, x)},
                                                  {DNNL_ARG_WEIGHTS, packed},
                                                  {DNNL_ARG_BIAS, wrap(bias_desc, bias)},
                                                  {DNNL_ARG_DST, wrap(y_desc, y)}};
  const Conv2dOptions options{.stride = stride, .padding = padding, .activation = Activation::relu};
  report_against(
      state, 2 * n * end * end * out * in * kernel * kernel,
      [&] { benchmark::DoNotOptimize(conv2d(x, w, bias, options)); },
      [&] { peer.execute(onednn::stream(), arguments); });
}

/// ResNet50's first convolution and those of its blocks.
void sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({3, 224, 64, 7, 2})->Args({64, 56, 64, 3, 1})->Args({256, 56, 64, 1, 1})->Args({64, 56, 256, 1, 1});
  bench->Args({512, 7, 512, 3, 1})->Args({256, 56, 512, 1, 2})->Unit(benchmark::kMillisecond)->Iterations(25);
}
BENCHMARK(conv2d_forward<float>)->Apply(sizes);
BENCHMARK(conv2d_forward<bf16>)->Apply(sizes);

}  // namespace
