// Bound by memory in f32, by Philox in bf16: dropout reads x and writes y, dropout_add reads the residual too.
#include "kernels/dropout.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t n = 50'000'000;  // 200 MB an array in f32, beyond any last-level cache

template <class T>
void dropout(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({n}, random, dtype_of<T>);
  Tensor y = empty_like(x);
  T* out = y.mutable_data<T>();
  report_bandwidth(state, 2 * n * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::dropout(out, x.data<T>(), {.p = 0.1f, .seed = 7}, n); });
}
BENCHMARK(dropout<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(dropout<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void dropout_add(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({n}, random, dtype_of<T>), residual = randn({n}, random, dtype_of<T>);
  Tensor y = empty_like(x);
  T* out = y.mutable_data<T>();
  report_bandwidth(state, 3 * n * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::dropout_add(out, x.data<T>(), residual.data<T>(), {.p = 0.1f, .seed = 7}, n); });
}
BENCHMARK(dropout_add<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(dropout_add<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
