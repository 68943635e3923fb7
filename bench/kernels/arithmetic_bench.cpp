// Bound by memory: two arrays read and one written, or one and one.
#include "kernels/arithmetic.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 65536, cols = 768, n = rows * cols;  // 200 MB an array in f32

template <class T>
void add(benchmark::State& state) {
  Random random(1);
  const Tensor a = randn({n}, random, dtype_of<T>), b = randn({n}, random, dtype_of<T>);
  Tensor y = empty_like(a);
  T* out = y.mutable_data<T>();
  report_bandwidth(state, 3 * n * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::add(out, a.data<T>(), b.data<T>(), n); });
}
BENCHMARK(add<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(add<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void mul_row(benchmark::State& state) {
  Random random(1);
  const Tensor a = randn({rows, cols}, random, dtype_of<T>), b = randn({cols}, random, dtype_of<T>);
  Tensor y = empty_like(a);
  T* out = y.mutable_data<T>();
  const kernels::Broadcast shape{2, {rows, cols}, {cols, 1}, {0, 1}};
  report_bandwidth(state, 2 * n * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::arithmetic(kernels::Arithmetic::mul, out, a.data<T>(), b.data<T>(), shape); });
}
BENCHMARK(mul_row<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(mul_row<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

void exp(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({n}, random);
  Tensor y = empty_like(x);
  float* out = y.mutable_data<float>();
  report_bandwidth(state, 2 * n * 4, [&] { kernels::cpu::exp(out, x.data<float>(), n); });
}
BENCHMARK(exp)->Unit(benchmark::kMillisecond)->Iterations(15);

void log(benchmark::State& state) {
  Random random(1);
  const Tensor x = rand({n}, random);
  Tensor y = empty_like(x);
  float* out = y.mutable_data<float>();
  report_bandwidth(state, 2 * n * 4, [&] { kernels::cpu::log(out, x.data<float>(), n); });
}
BENCHMARK(log)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
