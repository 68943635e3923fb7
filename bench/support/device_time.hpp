#pragma once
// What runs on a GPU, timed by its own clock and held against its own limits: how fast it copies within its memory, and
// how fast cuBLASLt multiplies matrices in bf16. Where the library is built for the host executor that is the GPU: it
// shows that a benchmark runs, and nothing else.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "clip/core/tensor.hpp"
#include "kernels/stream.hpp"

namespace clip::bench {

/// The first GPU, and its stream. Throws when there is none.
const Device& gpu();
kernels::cuda::Stream gpu_stream();

/// `size` on a GPU, `few` on the host executor.
std::int64_t sized(std::int64_t size, std::int64_t few);

/// Normal numbers on the GPU (of u8: any), a block of them repeated. What is multiplied decides how much power it
/// takes, and so how fast a GPU is: zeros flatter.
Tensor random_on_gpu(const Shape& shape, dtype type);

/// Bytes a second, read and written, of copies of a gigabyte.
double copy_rate();
/// FLOP a second of a product of 8192 x 8192 matrices in bf16, summed in f32.
double matrix_rate();

/// Puts something into the GPU's stream.
using Work = std::function<void()>;

/// The same as a graph, after it has run once: replaying that costs the CPU one launch. Throws what `Graph` does, which
/// takes no work that waits for the GPU.
Work replayed(const Work& work);

/// BENCHMARK for what runs on a GPU. The times shown are means; counters are made of medians. What a benchmark throws
/// ends it alone, and is its error. (A macro, because its text is the benchmark's name.)
#define GPU_BENCHMARK(...) BENCHMARK(clip::bench::guarded<__VA_ARGS__>)->Name(#__VA_ARGS__)->Apply(clip::bench::on_gpu)
void on_gpu(benchmark::internal::Benchmark* bench);
template <void (*run)(benchmark::State&)>
void guarded(benchmark::State& state) {
  try {
    run(state);
  } catch (const std::exception& e) {
    state.SkipWithError(e.what());
  }
}

/// The median time of a piece of work in seconds, and most bytes of the GPU's memory that it took beyond what was in
/// use before, as the counter `peak_bytes`.
double report_time(benchmark::State& state, const Work& work);
/// Times work that reads and writes `bytes`, and reports `bytes_per_second` and `of_copy`, the ratio to `copy_rate`.
/// `make` gives it buffers of its own; it is called as often as makes their bytes too many for any L2 cache, and what
/// it made runs in turns.
void report_device_bandwidth(benchmark::State& state, std::int64_t bytes, const std::function<Work()>& make);
/// Times work of `flops` operations, and reports `flops` a second and `of_matrix_rate`. Returns the time in seconds.
double report_device_flops(benchmark::State& state, double flops, const Work& work);

}  // namespace clip::bench
