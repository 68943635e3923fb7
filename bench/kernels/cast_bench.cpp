// Bound by memory: every element read and written once.
#include "kernels/cast.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

void cast(benchmark::State& state, dtype from, dtype to) {
  constexpr std::int64_t n = 50'000'000;
  const Tensor x = full({n}, 1, from);
  Tensor y({n}, to);
  void* out = y.mutable_raw();
  report_bandwidth(state, n * static_cast<std::int64_t>(size_of(from) + size_of(to)),
                   [&] { kernels::cpu::cast(out, to, x.raw(), from, n); });
}
BENCHMARK_CAPTURE(cast, f32_to_bf16, dtype::f32, dtype::bf16)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(cast, bf16_to_f32, dtype::bf16, dtype::f32)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(cast, f32_to_f16, dtype::f32, dtype::f16)->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(cast, u8_to_f32, dtype::u8, dtype::f32)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
