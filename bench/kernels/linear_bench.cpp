// Bound by arithmetic. The peer is the bare oneDNN primitive on weights packed before.
#include "clip/ops/linear.hpp"

#include "bench/support/limits.hpp"
#include "bench/support/primitives.hpp"
#include "clip/autograd.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

/// Rows, in and out are the benchmark's arguments; 1 in the fourth asks for GELU.
template <class T>
void linear_forward(benchmark::State& state) {
  const std::int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const Activation f = state.range(3) == 1 ? Activation::gelu : Activation::none;
  Random random(1);
  const Tensor x = randn({rows, in}, random, dtype_of<T>), w = randn({out, in}, random, dtype_of<T>);
  const Tensor bias = randn({out}, random, dtype_of<T>);

  const Primitive peer = bare_linear(dtype_of<T>, rows, in, out, f);
  report_against(
      state, peer.flops, [&] { benchmark::DoNotOptimize(linear(x, w, bias, {.activation = f})); }, peer.run);
}

template <std::int64_t rows>
void sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({rows, 768, 3072, 1})->Args({rows, 768, 768, 0})->Args({rows, 3072, 768, 0});
  bench->Unit(benchmark::kMillisecond)->Iterations(rows == 1 ? 500 : rows == 256 ? 60 : 9);
}
BENCHMARK(linear_forward<float>)->Apply(sizes<1>);
BENCHMARK(linear_forward<float>)->Apply(sizes<256>);
BENCHMARK(linear_forward<float>)->Apply(sizes<4096>);
BENCHMARK(linear_forward<bf16>)->Apply(sizes<1>);
BENCHMARK(linear_forward<bf16>)->Apply(sizes<256>);
BENCHMARK(linear_forward<bf16>)->Apply(sizes<4096>);

/// What an op costs over its arithmetic: 8 rows of 16.
void linear_small(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({8, 16}, random), w = randn({16, 16}, random), bias = randn({16}, random);
  for (auto _ : state) benchmark::DoNotOptimize(linear(x, w, bias));
}
BENCHMARK(linear_small);

}  // namespace
