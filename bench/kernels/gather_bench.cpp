// Bound by memory: reads x and the index, writes y; backward reads dy and the index, and writes dx.
#include "kernels/gather.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 65536, cols = 768, picked = 256;  // along the last dimension, every third element
constexpr kernels::GatherShape shape{.outer = rows, .n = cols, .m = picked, .inner = 1};

Tensor indices() {
  std::vector<std::int64_t> index(static_cast<std::size_t>(rows * picked));
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i % picked) * 3;
  return Tensor::from(index, {rows, picked});
}

void gather_forward(benchmark::State& state) {
  const Tensor x = full({rows, cols}, 1), index = indices();
  Tensor y({rows, picked});
  void* out = y.mutable_raw();
  report_bandwidth(state, rows * (cols * 4 + picked * 12), [&] {
    kernels::cpu::gather_forward(out, x.raw(), index.data<std::int64_t>(), sizeof(float), shape);
  });
}
BENCHMARK(gather_forward)->Unit(benchmark::kMillisecond)->Iterations(15);

void gather_backward(benchmark::State& state) {
  const Tensor dy = full({rows, picked}, 1), index = indices();
  Tensor dx({rows, cols});
  float* out = dx.mutable_data<float>();
  report_bandwidth(state, rows * (cols * 4 + picked * 12),
                   [&] { kernels::cpu::gather_backward(out, dy.data<float>(), index.data<std::int64_t>(), shape); });
}
BENCHMARK(gather_backward)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
