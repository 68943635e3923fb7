// Bound by arithmetic, and so are counted the fewest operations that can do: with the gradients of both sides 8 n^2 d
// for InfoNCE and SigLIP, 18 n^2 d for soft targets, 14 n^2 d where they are detached. What a kernel computes again
// does not count for it. At n = 32,768, d = 512 and 790 TFLOP/s: 5.6, 12.5 and 9.7 ms. Two exponentials an element and
// direction are 1.2 ms by themselves, so smaller d cannot reach as much. Targets: of the matrix rate 65 % at d = 512,
// 50 % at 256. Against eager PyTorch, with products in bf16 and all else in f32, the targets are 3 times as fast for
// InfoNCE, 10 times for soft targets, and a fiftieth of the memory. It goes over n x n numbers of f32 about 17 and 69
// times, 25 and 99 ms at 3.0 TB/s, beside its products: 30 and 111 ms. At 65 % of the rate that is 3.5 and 5.8 times
// what ours take; 10 times the soft targets' would need 113 % of the rate, at d = 256 60 %.
//
// A matrix of n x n numbers in f32 would take 4.3 GB, and eager PyTorch has 4 to 5 of them. peak_bytes, beside the
// inputs, is O(n d). At these sizes, in MB: the loss leaves both sides' gradients in f32, 134; meanwhile it has
// 4096 x 4096 slopes of 16 bits, 34 (soft targets three, 101, detached two, 67), and sums, 4 (soft targets 18).
// Backward rounds those gradients, 67, and the first leaf copies its half, 34. cuBLASLt's scratch is 34 at most. So
// 134 + 67 + 34 + 34 = 269 for InfoNCE and SigLIP, 134 + 101 + 18 + 34 = 287 for soft targets.
#include "bench/support/device_time.hpp"
#include "clip/autograd.hpp"
#include "clip/ops/contrastive_loss.hpp"
#include "clip/ops/l2_normalize.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

/// Times `loss` of two sides and its gradients, `products` n^2 d operations.
template <class Loss>
void report_loss(benchmark::State& state, std::int64_t products, Tensor text, Tensor image, const Loss& loss) {
  text.requires_grad();
  image.requires_grad();
  const auto n = static_cast<double>(text.shape(0)), d = static_cast<double>(text.shape(1));
  report_device_flops(state, static_cast<double>(products) * n * n * d, [&] {
    backward(loss(text, image));
    text.set_grad({});
    image.set_grad({});
  });
}

/// Rows of length 1, n and d the benchmark's arguments.
template <class T>
Tensor unit_rows(const benchmark::State& state) {
  return l2_normalize(random_on_gpu({sized(state.range(0), 65), sized(state.range(1), 24)}, dtype_of<T>));
}

template <class T>
void info_nce(benchmark::State& state) {
  const Tensor scale = Tensor::of(2.66, dtype::f32, gpu());
  report_loss(state, 8, unit_rows<T>(state), unit_rows<T>(state),
              [&](const Tensor& text, const Tensor& image) { return clip::info_nce(text, image, scale); });
}
template <class T>
void siglip(benchmark::State& state) {
  const Tensor scale = Tensor::of(2.3, dtype::f32, gpu()), bias = Tensor::of(-10, dtype::f32, gpu());
  report_loss(state, 8, unit_rows<T>(state), unit_rows<T>(state),
              [&](const Tensor& text, const Tensor& image) { return siglip_loss(text, image, scale, bias); });
}
template <class T, bool detach>
void soft_targets(benchmark::State& state) {
  const ContrastiveOptions options{.temperature = 1, .detach_targets = detach};
  report_loss(state, detach ? 14 : 18, unit_rows<T>(state), unit_rows<T>(state),
              [&](const Tensor& text, const Tensor& image) { return soft_target_loss(text, image, options); });
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"n", "d"})->ArgsProduct({{1 << 10, 1 << 15}, {256, 512}});
}
GPU_BENCHMARK(info_nce<bf16>)->Apply(sizes);
GPU_BENCHMARK(siglip<bf16>)->Apply(sizes);
GPU_BENCHMARK(soft_targets<bf16, false>)->Apply(sizes);
GPU_BENCHMARK(soft_targets<bf16, true>)->Apply(sizes);
GPU_BENCHMARK(info_nce<float>)->ArgNames({"n", "d"})->Args({1 << 14, 256})->Iterations(5);

/// A million pairs, whose matrix would take 4.4 TB: 2.25e15 operations, 2.9 s at 790 TFLOP/s, and as much for SigLIP;
/// soft targets 5.07e15, 6.4 s. Together 12 s at the full rate and 24 at half of it.
template <void (*loss)(benchmark::State&)>
void million(benchmark::State& state) {
  loss(state);
}
void once(benchmark::internal::Benchmark* bench) { bench->ArgNames({"n", "d"})->Args({1 << 20, 256})->Iterations(1); }
GPU_BENCHMARK(million<info_nce<bf16>>)->Apply(once);
GPU_BENCHMARK(million<siglip<bf16>>)->Apply(once);
GPU_BENCHMARK(million<soft_targets<bf16, false>>)->Apply(once);

}  // namespace
