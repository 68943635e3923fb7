// The 10 best of a million rows of 256 numbers. One query reads every row once: 1.02 GB in f32, 0.34 ms at 3.0 TB/s;
// half of it in f16, a quarter in bytes. 64 queries are 32.8 G multiply-adds, 0.98 ms at the 67 TFLOP/s that an H100
// has in f32 outside its tensor cores, and are held against the bytes of one pass too.
#include "kernels/top_k.hpp"

#include "bench/support/device_time.hpp"

namespace {

using namespace clip;
using namespace clip::bench;
namespace cuda = clip::kernels::cuda;

template <class T>
void top_k(benchmark::State& state) {
  const kernels::TopKShape s{.queries = state.range(0), .rows = sized(1'000'000, 300), .cols = 256, .k = 10};
  const Tensor rows = random_on_gpu({s.rows, s.cols}, dtype_of<T>);
  const Tensor queries = random_on_gpu({s.queries, s.cols}, dtype::f32);
  const Tensor factors = full({s.rows}, 0.01, dtype::f32, gpu());
  Tensor scores({s.queries, s.k}, dtype::f32, gpu()), found({s.queries, s.k}, dtype::i64, gpu()),
      scratch({cuda::top_k_scratch(s)}, dtype::u8, gpu());
  report_device_bandwidth(state, s.rows * s.cols * static_cast<std::int64_t>(sizeof(T)), [&] {
    return [&] {
      cuda::top_k(scores.mutable_data<float>(), found.mutable_data<std::int64_t>(), queries.data<float>(),
                  rows.data<T>(), dtype_of<T> == dtype::u8 ? factors.data<float>() : nullptr, s, scratch.mutable_raw(),
                  gpu_stream());
    };
  });
}
GPU_BENCHMARK(top_k<float>)->ArgName("queries")->Arg(1)->Arg(64);
GPU_BENCHMARK(top_k<f16>)->ArgName("queries")->Arg(1)->Arg(64);
GPU_BENCHMARK(top_k<std::uint8_t>)->ArgName("queries")->Arg(1)->Arg(64);

}  // namespace
