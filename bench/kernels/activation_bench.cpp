// Bound by memory: forward reads x and writes y, backward reads dy and x and writes dx.
#include "kernels/activation.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t n = 50'000'000;  // 200 MB an array in f32, beyond any last-level cache

template <class T, Activation f>
void activation_forward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({n}, random, dtype_of<T>);
  Tensor y = empty_like(x);
  T* out = y.mutable_data<T>();
  report_bandwidth(state, 2 * n * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::activation_forward(f, out, x.data<T>(), n); });
}
BENCHMARK(activation_forward<float, Activation::gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_forward<bf16, Activation::gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_forward<float, Activation::quick_gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_forward<bf16, Activation::quick_gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_forward<float, Activation::tanh>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_forward<bf16, Activation::tanh>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T, Activation f>
void activation_backward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({n}, random, dtype_of<T>), dy = randn({n}, random, dtype_of<T>);
  Tensor dx = empty_like(x);
  T* out = dx.mutable_data<T>();
  report_bandwidth(state, 3 * n * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::activation_backward(f, out, dy.data<T>(), x.data<T>(), n); });
}
BENCHMARK(activation_backward<float, Activation::gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_backward<bf16, Activation::gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_backward<float, Activation::quick_gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(activation_backward<bf16, Activation::quick_gelu>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
