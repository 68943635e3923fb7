// Bound by arithmetic: the soft-target loss and its gradients are 18 n^2 d operations (16 where one tile holds all; 12
// of rows that point anywhere, whose targets are negligible), those of InfoNCE 6, or 8 in several blocks.
#include "kernels/contrastive.hpp"

#include <numeric>
#include <vector>

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/arithmetic.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t d = 256;

/// Rows around one point have targets everywhere, those around the origin none beside their own.
void soft_target_loss(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const bool alike = state.range(1) != 0;
  Random random(1);
  const Tensor centre = randn({d}, random);
  const auto rows = [&] { return alike ? add(scale(randn({n, d}, random), 0.3f), centre) : randn({n, d}, random); };
  const Tensor text = rows(), image = rows();
  Tensor dtext = empty_like(text), dimage = empty_like(image), numbers({2});
  Tensor scratch({kernels::soft_target_scratch(n, d, true, false)});
  float* const out = numbers.mutable_data<float>();
  float* const memory = scratch.mutable_data<float>();
  const kernels::ContrastiveGradients gradients{dtext.mutable_data<float>(), dimage.mutable_data<float>(), out + 1};
  const std::int64_t products = n <= 1024 ? 16 : alike ? 18 : 12;
  report_flops(state, products * n * n * d, [&] {
    kernels::cpu::soft_target_loss(out, gradients, text.data<float>(), image.data<float>(), 1, false, n, d, memory);
  });
}
BENCHMARK(soft_target_loss)
    ->ArgNames({"n", "alike"})
    ->ArgsProduct({{32, 256, 1024, 4096}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

void info_nce(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  Random random(1);
  const Tensor text = randn({n, d}, random), image = randn({n, d}, random);
  Tensor dtext = empty_like(text), dimage = empty_like(image), numbers({2}), scratch({kernels::info_nce_scratch(n, d)});
  float* const out = numbers.mutable_data<float>();
  float* const memory = scratch.mutable_data<float>();
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  const std::vector<float> share(ids.size(), 1.0f);
  const kernels::ContrastiveGradients gradients{dtext.mutable_data<float>(), dimage.mutable_data<float>(), out + 1};
  report_flops(state, (n <= 1024 ? 6 : 8) * n * n * d, [&] {
    kernels::cpu::info_nce(out, gradients, text.data<float>(), image.data<float>(), 0.1f, ids.data(), share.data(), n,
                           d, memory);
  });
}
BENCHMARK(info_nce)->Arg(256)->Arg(4096)->Unit(benchmark::kMillisecond);

}  // namespace
