// Bound by memory: forward reads x and writes y, backward reads dy and y and writes dx.
#include "kernels/softmax.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 65536, cols = 768;  // 200 MB an array in f32, beyond any last-level cache

template <class T>
void softmax_forward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>);
  Tensor y = empty_like(x);
  T* out = y.mutable_data<T>();
  report_bandwidth(state, 2 * rows * cols * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::softmax_forward(out, x.data<T>(), rows, cols); });
}
BENCHMARK(softmax_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(softmax_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void softmax_backward(benchmark::State& state) {
  Random random(1);
  const Tensor y = rand({rows, cols}, random, dtype_of<T>), dy = randn({rows, cols}, random, dtype_of<T>);
  Tensor dx = empty_like(y);
  T* out = dx.mutable_data<T>();
  report_bandwidth(state, 3 * rows * cols * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::softmax_backward(out, dy.data<T>(), y.data<T>(), rows, cols); });
}
BENCHMARK(softmax_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(softmax_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
