// Bound by arithmetic: the products that are not `linear`'s, and those of its backward.
#include "kernels/matmul.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

void matmul(benchmark::State& state, const kernels::MatmulShape& shape) {
  Random random(1);
  const Tensor a = randn({shape.batch, shape.m, shape.k}, random), b = randn({shape.batch, shape.k, shape.n}, random);
  Tensor y({shape.batch, shape.m, shape.n});
  float* out = y.mutable_data<float>();
  report_flops(state, 2 * shape.batch * shape.m * shape.n * shape.k,
               [&] { kernels::cpu::matmul(out, a.data<float>(), b.data<float>(), shape); });
}
BENCHMARK_CAPTURE(matmul, batched, {.batch = 96, .m = 128, .n = 128, .k = 64})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(30);
BENCHMARK_CAPTURE(matmul, gradient_x, {.m = 4096, .n = 768, .k = 3072})->Unit(benchmark::kMillisecond)->Iterations(9);
BENCHMARK_CAPTURE(matmul, gradient_w, {.m = 3072, .n = 768, .k = 4096, .transpose_a = true})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(9);

}  // namespace
