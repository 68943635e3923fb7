// Bound by reading x once; its bytes are held against a copy that moves as many (half read, half written).
#include "kernels/reduce.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t rows = 65536, cols = 768;

template <class T>
void sum_rows(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>);
  Tensor y({rows});
  float* out = y.mutable_data<float>();
  report_bandwidth(state, rows * cols * static_cast<std::int64_t>(sizeof(T)),
                   [&] { kernels::cpu::sum(out, x.data<T>(), rows, cols, 1); });
}
BENCHMARK(sum_rows<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(sum_rows<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

template <class T>
void sum_columns(benchmark::State& state) {  // the gradient of a bias: the op sums pieces of rows, then their sums
  constexpr std::int64_t pieces = 32;
  Random random(1);
  const Tensor x = randn({rows, cols}, random, dtype_of<T>);
  Tensor y({pieces + 1, cols});
  float* out = y.mutable_data<float>();
  report_bandwidth(state, rows * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    kernels::cpu::sum(out, x.data<T>(), pieces, rows / pieces, cols);
    kernels::cpu::sum(out + pieces * cols, out, 1, pieces, cols);
  });
}
BENCHMARK(sum_columns<float>)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK(sum_columns<bf16>)->Unit(benchmark::kMillisecond)->Iterations(15);

void max_rows(benchmark::State& state) {
  Random random(1);
  const Tensor x = randn({rows, cols}, random);
  Tensor y({rows}), index({rows}, dtype::i64);
  float* out = y.mutable_data<float>();
  std::int64_t* at = index.mutable_data<std::int64_t>();
  report_bandwidth(state, rows * cols * 4, [&] { kernels::cpu::max(out, at, x.data<float>(), rows, cols, 1); });
}
BENCHMARK(max_rows)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
