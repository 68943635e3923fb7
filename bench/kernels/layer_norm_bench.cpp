// Bound by memory: forward reads x and writes y, backward reads dy and x and writes dx.
#include "kernels/layer_norm.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 65536, cols = 768;  // 200 MB an array in f32, beyond any last-level cache

template <class T>
void layer_norm_forward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>), weight = rand({cols}, random), bias = rand({cols}, random);
  Tensor y = empty_like(x), mean({rows}), rstd({rows});
  T* out = y.mutable_data<T>();
  float *m = mean.mutable_data<float>(), *s = rstd.mutable_data<float>();
  report_bandwidth(state, 2 * rows * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    kernels::cpu::layer_norm_forward(out, m, s, x.data<T>(), weight.data<float>(), bias.data<float>(), 1e-5f, rows,
                                     cols);
  });
}
BENCHMARK(layer_norm_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(layer_norm_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void layer_norm_backward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>), dy = randn({rows, cols}, random, dtype_of<T>);
  const Tensor weight = rand({cols}, random), mean = rand({rows}, random), rstd = rand({rows}, random);
  Tensor dx = empty_like(x), partial({kernels::cpu::column_sum_blocks(rows), 2, cols});
  T* out = dx.mutable_data<T>();
  float* parts = partial.mutable_data<float>();
  report_bandwidth(state, 3 * rows * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    kernels::cpu::layer_norm_backward(out, parts, dy.data<T>(), x.data<T>(), mean.data<float>(), rstd.data<float>(),
                                      weight.data<float>(), rows, cols);
  });
}
BENCHMARK(layer_norm_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(layer_norm_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
