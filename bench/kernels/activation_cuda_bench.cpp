// Bound by memory: forward reads x and writes y, 2 numbers an element; backward reads dy and x and writes dx, 3. In
// bf16 an element forward is 4 bytes: at 3.0 TB/s 750 of them a nanosecond, or 3.2 for each multiprocessor and clock of
// an H100, so that each has at most 40 of its 128 operations a clock for the error function. Target: 85 % of copy
// bandwidth.
#include "kernels/activation.hpp"

#include "bench/support/device_time.hpp"

namespace {

using namespace clip;
using namespace clip::bench;
namespace cuda = clip::kernels::cuda;

template <class T>
void gelu_forward(benchmark::State& state) {
  const std::int64_t n = sized(1 << 27, 100);
  report_device_bandwidth(state, 2 * n * static_cast<std::int64_t>(sizeof(T)), [&] {
    const Tensor x = random_on_gpu({n}, dtype_of<T>);
    Tensor y = empty_like(x);
    return [=]() mutable {
      cuda::activation_forward(Activation::gelu, y.mutable_data<T>(), x.data<T>(), n, gpu_stream());
    };
  });
}
GPU_BENCHMARK(gelu_forward<float>);
GPU_BENCHMARK(gelu_forward<bf16>);

template <class T>
void gelu_backward(benchmark::State& state) {
  const std::int64_t n = sized(1 << 27, 100);
  report_device_bandwidth(state, 3 * n * static_cast<std::int64_t>(sizeof(T)), [&] {
    const Tensor x = random_on_gpu({n}, dtype_of<T>), dy = random_on_gpu({n}, dtype_of<T>);
    Tensor dx = empty_like(x);
    return [=]() mutable {
      cuda::activation_backward(Activation::gelu, dx.mutable_data<T>(), dy.data<T>(), x.data<T>(), n, gpu_stream());
    };
  });
}
GPU_BENCHMARK(gelu_backward<float>);
GPU_BENCHMARK(gelu_backward<bf16>);

}  // namespace
