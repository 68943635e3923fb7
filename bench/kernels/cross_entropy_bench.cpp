// Bound by memory: forward reads logits (and soft targets), backward reads them again and writes a gradient.
#include "kernels/cross_entropy.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 8192, cols = 8192;  // 268 MB an array in f32: a contrastive batch of 8,192

template <class T>
struct Arrays {
  Random random{1};
  Tensor x = randn({rows, cols}, random, dtype_of<T>), t = rand({rows, cols}, random, dtype_of<T>);
  std::vector<std::int64_t> classes;
  Tensor mean = ones({}, dtype_of<T>), lse = full({rows}, 9.5), losses{Shape{rows}}, dx = empty_like(x);
  static constexpr std::int64_t bytes = rows * cols * static_cast<std::int64_t>(sizeof(T));

  Arrays() {
    for (std::int64_t r = 0; r < rows; ++r) classes.push_back(r);
  }
};

template <class T>
void cross_entropy_forward(benchmark::State& state) {
  Arrays<T> a;
  T* mean = a.mean.template mutable_data<T>();
  float *lse = a.lse.template mutable_data<float>(), *losses = a.losses.template mutable_data<float>();
  report_bandwidth(state, a.bytes, [&] {
    kernels::cpu::cross_entropy_forward(mean, lse, a.x.template data<T>(), a.classes.data(), rows, cols, losses);
  });
}
BENCHMARK(cross_entropy_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(cross_entropy_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void cross_entropy_backward(benchmark::State& state) {
  Arrays<T> a;
  T* dx = a.dx.template mutable_data<T>();
  report_bandwidth(state, 2 * a.bytes, [&] {
    kernels::cpu::cross_entropy_backward(dx, a.mean.template data<T>(), a.x.template data<T>(), a.classes.data(),
                                         a.lse.template data<float>(), rows, cols);
  });
}
BENCHMARK(cross_entropy_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(cross_entropy_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void soft_cross_entropy_forward(benchmark::State& state) {
  Arrays<T> a;
  T* mean = a.mean.template mutable_data<T>();
  float *lse = a.lse.template mutable_data<float>(), *losses = a.losses.template mutable_data<float>();
  report_bandwidth(state, 2 * a.bytes, [&] {
    kernels::cpu::soft_cross_entropy_forward(mean, lse, a.x.template data<T>(), a.t.template data<T>(), rows, cols,
                                             losses);
  });
}
BENCHMARK(soft_cross_entropy_forward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(soft_cross_entropy_forward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void soft_cross_entropy_backward(benchmark::State& state) {
  Arrays<T> a;
  T* dx = a.dx.template mutable_data<T>();
  report_bandwidth(state, 3 * a.bytes, [&] {
    kernels::cpu::soft_cross_entropy_backward(dx, a.mean.template data<T>(), a.x.template data<T>(),
                                              a.t.template data<T>(), a.lse.template data<float>(), rows, cols);
  });
}
BENCHMARK(soft_cross_entropy_backward<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(soft_cross_entropy_backward<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
