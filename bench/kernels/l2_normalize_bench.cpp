// Bound by memory: forward reads x and writes y, backward reads dy and x and writes dx.
#include "kernels/l2_normalize.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 131072, cols = 512;  // 268 MB an array in f32, beyond any last-level cache

template <class T>
void l2_normalize_forward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>);
  Tensor y = empty_like(x), norm({rows});
  T* out = y.mutable_data<T>();
  float* norms = norm.mutable_data<float>();
  report_bandwidth(state, 2 * rows * cols * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::l2_normalize_forward(out, norms, x.data<T>(), 1e-12f, rows, cols); });
}
BENCHMARK(l2_normalize_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(l2_normalize_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void l2_normalize_backward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>), dy = randn({rows, cols}, random, dtype_of<T>);
  const Tensor norm = full({rows}, 22.6);
  Tensor dx = empty_like(x);
  T* out = dx.mutable_data<T>();
  report_bandwidth(state, 3 * rows * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    kernels::cpu::l2_normalize_backward(out, dy.data<T>(), x.data<T>(), norm.data<float>(), 1e-12f, rows, cols);
  });
}
BENCHMARK(l2_normalize_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(l2_normalize_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
