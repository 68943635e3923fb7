// ResNet's one max pooling, 3 x 3 with stride 2, and its global average. Bound by memory: forward reads x and writes y
// with its index; backward reads dy with its index and writes dx.
#include "kernels/pool.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/pool.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t images = 64;
constexpr kernels::PoolShape shape{images, 112, 112, 64, 3, 2, 1, 56, 56};  // 200 MB in f32
constexpr std::int64_t in = images * 112 * 112 * 64, out = in / 4;

template <class T>
void max_pool2d_forward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({in}, random, dtype_of<T>);
  Tensor y({out}, dtype_of<T>), index({out}, dtype::i32);
  T* to = y.mutable_data<T>();
  std::int32_t* at = index.mutable_data<std::int32_t>();
  report_bandwidth(state, (in + out) * static_cast<std::int64_t>(sizeof(T)) + 4 * out,
                   [&] { kernels::cpu::max_pool2d_forward(to, at, x.data<T>(), shape); });
}
BENCHMARK(max_pool2d_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(max_pool2d_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void max_pool2d_backward(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({in}, random, dtype_of<T>), dy = randn({out}, random, dtype_of<T>);
  Tensor dx = empty_like(x), index({out}, dtype::i32), y = empty_like(dy);
  T* to = dx.mutable_data<T>();
  kernels::cpu::max_pool2d_forward(y.mutable_data<T>(), index.mutable_data<std::int32_t>(), x.data<T>(), shape);
  report_bandwidth(state, (in + out) * static_cast<std::int64_t>(sizeof(T)) + 4 * out,
                   [&] { kernels::cpu::max_pool2d_backward(to, dy.data<T>(), index.data<std::int32_t>(), shape); });
}
BENCHMARK(max_pool2d_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(max_pool2d_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void global_avg_pool(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({512, 7, 7, 2048}, random, dtype_of<T>);
  report_bandwidth(state, static_cast<std::int64_t>(x.bytes()), [&] { clip::global_avg_pool(x); });
}
BENCHMARK(global_avg_pool<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(global_avg_pool<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
