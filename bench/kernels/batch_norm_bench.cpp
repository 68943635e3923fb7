// Bound by memory: statistics read x; forward reads x and writes y; the parameters' gradients read dy and x; backward
// reads both again and writes dx.
#include "kernels/batch_norm.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 196'000, cols = 256;  // 200 MB an array in f32, beyond any last-level cache

/// Arrays that every benchmark here needs.
template <class T>
struct Data {
  Random random{1};
  Tensor x = randn({rows, cols}, random, dtype_of<T>), dy = randn({rows, cols}, random, dtype_of<T>);
  Tensor out = empty_like(x), columns = rand({4, cols}, random), sums{{2, cols}};
  Tensor scratch{{kernels::cpu::batch_norm_blocks(rows), 2, cols}};
  T* y = out.mutable_data<T>();
  float *parts = scratch.mutable_data<float>(), *two = sums.mutable_data<float>();
  const T *in = x.data<T>(), *g = dy.data<T>();
  const float *mean = columns.data<float>(), *rstd = mean + cols, *weight = rstd + cols, *bias = weight + cols;
};
template <class T>
constexpr std::int64_t array = rows* cols* static_cast<std::int64_t>(sizeof(T));

template <class T>
void batch_norm_statistics(benchmark::State& state) {
  Data<T> d;
  report_bandwidth(state, array<T>,
                   [&] { kernels::cpu::batch_norm_statistics(d.two, d.two + cols, d.parts, d.in, rows, cols); });
}
BENCHMARK(batch_norm_statistics<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(batch_norm_statistics<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void batch_norm_forward(benchmark::State& state) {
  Data<T> d;
  report_bandwidth(state, 2 * array<T>,
                   [&] { kernels::cpu::batch_norm_forward(d.y, d.in, d.mean, d.rstd, d.weight, d.bias, rows, cols); });
}
BENCHMARK(batch_norm_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(batch_norm_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void batch_norm_parameter_gradients(benchmark::State& state) {
  Data<T> d;
  report_bandwidth(state, 2 * array<T>, [&] {
    kernels::cpu::batch_norm_parameter_gradients(d.two, d.parts, d.g, d.in, d.mean, d.rstd, rows, cols);
  });
}
BENCHMARK(batch_norm_parameter_gradients<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(batch_norm_parameter_gradients<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void batch_norm_backward(benchmark::State& state) {
  Data<T> d;
  report_bandwidth(state, 3 * array<T>, [&] {
    kernels::cpu::batch_norm_backward(d.y, d.g, d.in, d.mean, d.rstd, d.weight, d.two, rows, cols);
  });
}
BENCHMARK(batch_norm_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(batch_norm_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
