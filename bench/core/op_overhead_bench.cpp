// What it costs to record, run and differentiate an op beside its arithmetic: a chain of 1,000 adds on 16 elements.
#include <benchmark/benchmark.h>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"

namespace {

using namespace clip;

constexpr int ops = 1000;

Tensor chain(const Tensor& x, const Tensor& one) {
  Tensor y = add(x, one);
  for (int i = 1; i < ops; ++i) y = add(y, one);
  return y;
}

void per_op(benchmark::State& state) {
  state.counters["per_op"] =
      benchmark::Counter(ops, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void forward(benchmark::State& state) {
  const Tensor x = zeros({16}).requires_grad(), one = ones({16});
  for (auto _ : state) {
    const Tensor y = chain(x, one);
    state.PauseTiming();
    backward(y, one);  // frees the graph outside the timing
    state.ResumeTiming();
  }
  per_op(state);
}
BENCHMARK(forward);

void backward_only(benchmark::State& state) {
  const Tensor x = zeros({16}).requires_grad(), one = ones({16});
  for (auto _ : state) {
    state.PauseTiming();
    const Tensor y = chain(x, one);
    state.ResumeTiming();
    backward(y, one);
  }
  per_op(state);
}
BENCHMARK(backward_only);

void inference(benchmark::State& state) {
  const Tensor x = zeros({16}), one = ones({16});
  for (auto _ : state) benchmark::DoNotOptimize(chain(x, one));
  per_op(state);
}
BENCHMARK(inference);

}  // namespace
