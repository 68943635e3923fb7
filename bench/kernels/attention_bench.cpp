// Bound by arithmetic: forward has two products of queries, keys and head size, backward five.
#include "kernels/attention.hpp"

#include <vector>

#include "bench/support/limits.hpp"
#include "clip/core/random.hpp"

namespace {

using namespace clip;
using namespace clip::bench;

constexpr std::int64_t heads = 12, dim = 64;

kernels::AttentionShape shape_of(std::int64_t length, bool causal) {
  return {.sequences = 4096 / length,
          .heads = heads,
          .dim = dim,
          .queries = length,
          .keys = length,
          .offsets = nullptr,
          .mask = nullptr,
          .causal = causal,
          .scale = 0.125f};
}

/// Operations of `products` matrix products, without those that a causal mask saves.
std::int64_t flops(const kernels::AttentionShape& s, std::int64_t products) {
  const std::int64_t pairs = s.causal ? s.queries * (s.queries + 1) / 2 : s.queries * s.queries;
  return 2 * products * pairs * s.sequences * s.heads * s.dim;
}

template <class T>
void attention_forward(benchmark::State& state) {
  const kernels::AttentionShape s = shape_of(state.range(0), state.range(1) != 0);
  Random random(1);
  const Shape rows{s.sequences, s.queries, s.heads, s.dim};
  const Tensor q = randn(rows, random, dtype_of<T>), k = randn(rows, random, dtype_of<T>),
               v = randn(rows, random, dtype_of<T>);
  Tensor y = empty_like(q), lse(rows.without(-1));
  const kernels::AttentionScratch need = kernels::cpu::attention_forward_scratch(s);
  Tensor scratch({need.total()});
  T* out = y.mutable_data<T>();
  float *sums = lse.mutable_data<float>(), *own = scratch.mutable_data<float>();
  report_flops(state, flops(s, 2), [&] {
    kernels::cpu::attention_forward(out, sums, q.data<T>(), k.data<T>(), v.data<T>(), s, own, need.workers);
  });
}
BENCHMARK(attention_forward<float>)
    ->ArgNames({"length", "causal"})
    ->ArgsProduct({{16, 77, 128, 512}, {0, 1}})
    ->Iterations(15);
BENCHMARK(attention_forward<bf16>)->ArgNames({"length", "causal"})->ArgsProduct({{128, 512}, {0}})->Iterations(15);

template <class T>
void attention_backward(benchmark::State& state) {
  const kernels::AttentionShape s = shape_of(state.range(0), state.range(1) != 0);
  Random random(1);
  const Shape rows{s.sequences, s.queries, s.heads, s.dim};
  const Tensor q = randn(rows, random, dtype_of<T>), k = randn(rows, random, dtype_of<T>),
               v = randn(rows, random, dtype_of<T>), dy = randn(rows, random, dtype_of<T>);
  Tensor y = empty_like(q), lse(rows.without(-1)), dq = empty_like(q), dk = empty_like(q), dv = empty_like(q);
  {
    const kernels::AttentionScratch need = kernels::cpu::attention_forward_scratch(s);
    Tensor scratch({need.total()});
    kernels::cpu::attention_forward(y.mutable_data<T>(), lse.mutable_data<float>(), q.data<T>(), k.data<T>(),
                                    v.data<T>(), s, scratch.mutable_data<float>(), need.workers);
  }
  const kernels::AttentionScratch need = kernels::cpu::attention_backward_scratch(s);
  Tensor scratch({need.total()});
  T *dq_out = dq.mutable_data<T>(), *dk_out = dk.mutable_data<T>(), *dv_out = dv.mutable_data<T>();
  float* own = scratch.mutable_data<float>();
  report_flops(state, flops(s, 5), [&] {
    kernels::cpu::attention_backward(dq_out, dk_out, dv_out, dy.data<T>(), q.data<T>(), k.data<T>(), v.data<T>(),
                                     y.data<T>(), lse.data<float>(), s, own, need.workers);
  });
}
BENCHMARK(attention_backward<float>)
    ->ArgNames({"length", "causal"})
    ->ArgsProduct({{16, 77, 128, 512}, {0, 1}})
    ->Iterations(15);
BENCHMARK(attention_backward<bf16>)->ArgNames({"length", "causal"})->ArgsProduct({{128, 512}, {0}})->Iterations(15);

}  // namespace
