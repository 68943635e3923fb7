// Bound by memory: forward reads x and writes y, 2 numbers an element; backward reads dy and x and writes dx, 3. That
// leaves out the statistics, 8 bytes a row, and the sums for scale and shift, which are [1056, 2, cols] in f32 for any
// number of rows: at 4096 columns 9 % of the other bytes of these sizes, both ways. Target: 85 % of copy bandwidth: in
// bf16 211 us forward, 316 us backward at 3.0 TB/s.
#include "kernels/layer_norm.hpp"

#include "bench/support/device_time.hpp"
#include "kernels/reduce.hpp"

namespace {

using namespace clip;
using namespace clip::bench;
namespace cuda = clip::kernels::cuda;

constexpr std::int64_t elements = 1 << 27;  // 268 MB an array in bf16, beyond any L2 cache

void columns(benchmark::internal::Benchmark* bench) {
  for (const std::int64_t cols : {256, 768, 1024, 4096}) bench->Arg(cols);
}

template <class T>
void layer_norm_forward(benchmark::State& state) {
  const std::int64_t cols = state.range(0), rows = sized(elements / cols, 3);
  report_device_bandwidth(state, 2 * rows * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    const Tensor x = random_on_gpu({rows, cols}, dtype_of<T>), w = random_on_gpu({2, cols}, dtype::f32);
    Tensor y = empty_like(x), statistics = random_on_gpu({2, rows}, dtype::f32);
    return [=]() mutable {
      float* const mean = statistics.mutable_data<float>();
      cuda::layer_norm_forward(y.mutable_data<T>(), mean, mean + rows, x.data<T>(), w.data<float>(),
                               w.data<float>() + cols, 1e-5f, rows, cols, gpu_stream());
    };
  });
}
GPU_BENCHMARK(layer_norm_forward<float>)->Apply(columns);
GPU_BENCHMARK(layer_norm_forward<bf16>)->Apply(columns);

template <class T>
void layer_norm_backward(benchmark::State& state) {
  const std::int64_t cols = state.range(0), rows = sized(elements / cols, 3), blocks = cuda::column_sum_blocks(rows);
  report_device_bandwidth(state, 3 * rows * cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    const Tensor x = random_on_gpu({rows, cols}, dtype_of<T>), dy = random_on_gpu({rows, cols}, dtype_of<T>);
    const Tensor w = random_on_gpu({cols}, dtype::f32), statistics = random_on_gpu({2, rows}, dtype::f32);
    Tensor dx = empty_like(x), partial({blocks, 2, cols}, dtype::f32, gpu()), sums({2, cols}, dtype::f32, gpu());
    return [=]() mutable {
      const float* const mean = statistics.data<float>();
      float* const parts = partial.mutable_data<float>();
      cuda::layer_norm_backward(dx.mutable_data<T>(), parts, dy.data<T>(), x.data<T>(), mean, mean + rows,
                                w.data<float>(), rows, cols, gpu_stream());
      cuda::sum(sums.mutable_data<float>(), parts, 1, blocks, 2 * cols, gpu_stream());
    };
  });
}
GPU_BENCHMARK(layer_norm_backward<float>)->Apply(columns);
GPU_BENCHMARK(layer_norm_backward<bf16>)->Apply(columns);

}  // namespace
