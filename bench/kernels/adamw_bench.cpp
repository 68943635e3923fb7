// Bound by memory: reads a parameter, its gradient and two means, and writes all but the gradient. The smaller size is
// that of two projection heads, which stay in the last-level cache; the larger is beyond it.
#include "kernels/adamw.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

void adamw(benchmark::State& state) {
  const std::int64_t count = state.range(0);
  Random random(1);
  Tensor p = randn({count}, random), m = randn({count}, random), v = rand({count}, random);
  const Tensor g = randn({count}, random);
  const kernels::AdamWTensor tensor{.p = p.mutable_data<float>(),
                                    .m = m.mutable_data<float>(),
                                    .v = v.mutable_data<float>(),
                                    .g = g.data<float>(),
                                    .count = count,
                                    .steps = nullptr,
                                    .settings = nullptr};
  const kernels::AdamWRates rates{.keep = 0.9999f,
                                  .beta1_rest = 0.1f,
                                  .beta2 = 0.999f,
                                  .beta2_rest = 0.001f,
                                  .step = 0.001f,
                                  .correction = 1,
                                  .eps = 1e-8f};
  report_bandwidth(state, 7 * count * static_cast<std::int64_t>(sizeof(float)), [&] {
    kernels::cpu::adamw({&tensor, 1}, &rates, 1);
  });
}
BENCHMARK(adamw)->Arg(852'000)->Unit(benchmark::kMillisecond)->Iterations(200);
BENCHMARK(adamw)->Arg(50'000'000)->Unit(benchmark::kMillisecond)->Iterations(15);

}  // namespace
