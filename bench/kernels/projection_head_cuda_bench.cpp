// The tail is bound by memory. In bf16, with dropout: forward reads y and h and writes z and out, 8 D + 8 bytes a row
// with mean and rstd; backward reads dout and z and writes dz and dy, 8 D + 8. At D = 256 and 65,536 rows that is 135
// MB, 45 us at 3.0 TB/s. Targets: 90 % of copy bandwidth forward, 80 % backward.
//
// The whole head, forward and backward without dx, is 2 N (2 E D + 3 D^2) operations: E = 2048, D = 256 and N = 32,768
// are 82 GFLOP, 103 us at 790 TFLOP/s. In bf16 it moves N (4 E + 24 D) bytes: x twice; h, z and out written; dout, h
// and z read; dh, dy and gelu(h) written for the products of the weights' gradients, which read them. That is 470 MB,
// 157 us at 3.0 TB/s, more than those operations take, but the two kernels that are ours multiply with mma.sync, which
// reaches about 60 % of that rate: forward's 39 GFLOP take 80 us there, more than its 61 us of memory. Target: 1.5
// times as fast as compiled PyTorch (bench/compare/kernels_cuda.py), which moves 1.36 times the bytes (1.56 times for E
// = 768) if it fuses all that lies between its products, and as cuBLAS' products are faster than ours, 1.5 is open.
#include "kernels/projection_head.hpp"

#include "bench/support/device_time.hpp"
#include "clip/autograd.hpp"
#include "clip/nn/projection_head.hpp"

namespace {

using namespace clip;
using namespace clip::bench;
namespace cuda = clip::kernels::cuda;

constexpr kernels::DropoutMask mask{.p = 0.1f, .seed = 1, .offset = 0};

void tails(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"rows", "cols"})->ArgsProduct({{1 << 16, 1 << 18}, {256, 512}});
}

template <class T>
void head_tail_forward(benchmark::State& state) {
  const std::int64_t rows = sized(state.range(0), 3), cols = state.range(1);
  report_device_bandwidth(state, rows * (4 * cols * static_cast<std::int64_t>(sizeof(T)) + 8), [&] {
    const Tensor h = random_on_gpu({rows, cols}, dtype_of<T>), w = random_on_gpu({2, cols}, dtype::f32);
    Tensor y = random_on_gpu({rows, cols}, dtype_of<T>), out = empty_like(y), statistics({2, rows}, dtype::f32, gpu());
    return [=]() mutable {
      float* const mean = statistics.mutable_data<float>();
      cuda::head_tail_forward(out.mutable_data<T>(), y.mutable_data<T>(), mean, mean + rows, h.data<T>(),
                              w.data<float>(), w.data<float>() + cols, 1e-5f, mask, rows, cols, gpu_stream());
    };
  });
}
GPU_BENCHMARK(head_tail_forward<bf16>)->Apply(tails);
GPU_BENCHMARK(head_tail_forward<float>)->Apply(tails);

template <class T>
void head_tail_backward(benchmark::State& state) {
  const std::int64_t rows = sized(state.range(0), 3), cols = state.range(1), blocks = cuda::column_sum_blocks(rows);
  report_device_bandwidth(state, rows * (4 * cols * static_cast<std::int64_t>(sizeof(T)) + 8), [&] {
    const Tensor dout = random_on_gpu({rows, cols}, dtype_of<T>), z = random_on_gpu({rows, cols}, dtype_of<T>);
    const Tensor w = random_on_gpu({cols}, dtype::f32), statistics = random_on_gpu({2, rows}, dtype::f32);
    Tensor dz = empty_like(z), dy = empty_like(z), partial({blocks, 3, cols}, dtype::f32, gpu());
    Tensor of_h({blocks, cols}, dtype::f32, gpu()), norm({2, cols}, dtype::f32, gpu());
    Tensor biases({2, cols}, dtype_of<T>, gpu());
    return [=]() mutable {
      const float* const mean = statistics.data<float>();
      float* const parts = partial.mutable_data<float>();
      cuda::head_tail_backward(dz.mutable_data<T>(), dy.mutable_data<T>(), parts, dout.data<T>(), z.data<T>(), mean,
                               mean + rows, w.data<float>(), mask, rows, cols, gpu_stream());
      float* const to_norm = norm.mutable_data<float>();
      T* const to_biases = biases.mutable_data<T>();
      cuda::head_totals<T>({to_norm, to_norm + cols, to_biases, to_biases + cols}, parts, of_h.data<float>(), blocks,
                           cols, gpu_stream());
    };
  });
}
GPU_BENCHMARK(head_tail_backward<bf16>)->Apply(tails);
GPU_BENCHMARK(head_tail_backward<float>)->Apply(tails);

template <class T>
void projection_head(benchmark::State& state) {
  const std::int64_t in = sized(state.range(0), 64), out = sized(state.range(1), 32), rows = sized(1 << 15, 3);
  Random random(1);
  ProjectionHead head(in, out, random);
  for (const Member& member : members(head)) *member.tensor = to(to(*member.tensor, dtype_of<T>), gpu());
  requires_grad(head);
  const Tensor x = random_on_gpu({rows, in}, dtype_of<T>), dout = random_on_gpu({rows, out}, dtype_of<T>);
  report_device_flops(state, 2.0 * static_cast<double>(rows) * static_cast<double>(2 * in * out + 3 * out * out), [&] {
    backward(head(x, &random), dout);
    for (const Tensor& parameter : parameters(head)) parameter.set_grad({});
  });
}
GPU_BENCHMARK(projection_head<bf16>)->ArgNames({"in", "out"})->ArgsProduct({{768, 2048}, {256, 512}});
GPU_BENCHMARK(projection_head<float>)->ArgNames({"in", "out"})->Args({2048, 256});

}  // namespace
