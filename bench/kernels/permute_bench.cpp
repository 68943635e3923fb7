// Bound by memory: every element read and written once.
#include "kernels/permute.hpp"

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

void permute(benchmark::State& state, const Shape& shape, const std::array<int, 8>& order) {
  const Tensor x = full(shape, 1);
  Tensor y({shape.numel()});
  void* out = y.mutable_raw();
  std::array<std::int64_t, 8> extent{};
  std::copy(shape.begin(), shape.end(), extent.begin());
  report_bandwidth(state, 8 * shape.numel(),
                   [&] { kernels::cpu::permute(out, x.raw(), 4, shape.rank(), extent, order); });
}
BENCHMARK_CAPTURE(permute, transpose, {8192, 6144}, {1, 0})->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(permute, heads, {512, 128, 12, 64}, {0, 2, 1, 3})->Unit(benchmark::kMillisecond)->Iterations(15);
BENCHMARK_CAPTURE(permute, nchw_to_nhwc, {256, 64, 56, 56}, {0, 2, 3, 1})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(15);

}  // namespace
