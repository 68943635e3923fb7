// Bound by arithmetic where sequences are long: forward has two products of queries, keys and head size, 4 L^2 H D
// operations a sequence, backward five. At 16,384 rows of 12 heads of 64, L = 512: 25.8 and 64.4 GFLOP, 33 and 82 us at
// 790 TFLOP/s. q, k, v and y are 101 MB in bf16, 34 us at 3.0 TB/s, so at L <= 512 forward is bound by memory as much.
#include "kernels/attention.hpp"

#include "bench/support/device_time.hpp"

namespace {

using namespace clip;
using namespace clip::bench;
namespace cuda = clip::kernels::cuda;

constexpr std::int64_t heads = 12, dim = 64;

void lengths(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"length", "causal"})->ArgsProduct({{128, 512, 2048}, {0, 1}});
}

kernels::AttentionShape shape_of(const benchmark::State& state) {
  const std::int64_t length = sized(state.range(0), 33);
  return {.sequences = sized(16384 / length, 1),
          .heads = heads,
          .dim = dim,
          .queries = length,
          .keys = length,
          .causal = state.range(1) != 0,
          .scale = 0.125f};
}

/// Operations of `products` matrix products, without those that a causal mask saves.
double flops(const kernels::AttentionShape& s, std::int64_t products) {
  const std::int64_t pairs = s.causal ? s.queries * (s.queries + 1) / 2 : s.queries * s.queries;
  return static_cast<double>(2 * products * pairs * s.sequences * s.heads * s.dim);
}

template <class T>
struct Arrays {
  kernels::AttentionShape s;
  Shape rows{s.sequences, s.queries, s.heads, s.dim};
  Tensor q = random_on_gpu(rows, dtype_of<T>), k = random_on_gpu(rows, dtype_of<T>),
         v = random_on_gpu(rows, dtype_of<T>), y = empty_like(q), lse{rows.without(-1), dtype::f32, gpu()};

  void forward() {
    cuda::attention_forward(y.mutable_data<T>(), lse.mutable_data<float>(), q.data<T>(), k.data<T>(), v.data<T>(), s,
                            gpu_stream());
  }
};

template <class T>
void attention_forward(benchmark::State& state) {
  Arrays<T> a{shape_of(state)};
  report_device_flops(state, flops(a.s, 2), [&] { a.forward(); });
}
GPU_BENCHMARK(attention_forward<bf16>)->Apply(lengths);

template <class T>
void attention_backward(benchmark::State& state) {
  Arrays<T> a{shape_of(state)};
  a.forward();
  const Tensor dy = random_on_gpu(a.rows, dtype_of<T>);
  Tensor dq = empty_like(a.q), dk = empty_like(a.q), dv = empty_like(a.q), delta = empty_like(a.lse);
  report_device_flops(state, flops(a.s, 5), [&] {
    cuda::attention_backward(dq.mutable_data<T>(), dk.mutable_data<T>(), dv.mutable_data<T>(), dy.data<T>(),
                             a.q.template data<T>(), a.k.template data<T>(), a.v.template data<T>(),
                             a.y.template data<T>(), a.lse.template data<float>(), a.s, delta.mutable_data<float>(),
                             gpu_stream());
  });
}
GPU_BENCHMARK(attention_backward<bf16>)->Apply(lengths);

}  // namespace
