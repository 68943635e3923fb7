// Bound by memory: every byte read and written once.
#include "kernels/concat.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/tensor.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

void copy_rows(benchmark::State& state) {  // a third of rows of 2,304: what splitting a fused QKV does
  constexpr std::int64_t rows = 65536, bytes = 768 * 4;
  const Tensor x = full({rows, 3 * 768}, 1);
  Tensor y({rows, 768});
  void* out = y.mutable_raw();
  report_bandwidth(state, 2 * rows * bytes,
                   [&] { kernels::cpu::copy_rows(out, bytes, x.raw(), 3 * bytes, bytes, rows); });
}
BENCHMARK(copy_rows)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
