#include "bench/support/device_time.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <memory>

#include "clip/core/graph.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/matmul.hpp"

namespace clip::bench {
namespace {

void call(cudaError_t status) { check(status == cudaSuccess, "cuda", cudaGetErrorString(status)); }

bool is_host_executor() {
  cudaDeviceProp properties{};
  call(cudaGetDeviceProperties(&properties, 0));
  return std::string_view(properties.name).starts_with("host executor");
}

/// Two marks in the GPU's stream, and the time between them.
class Stopwatch {
 public:
  Stopwatch() {
    call(cudaEventCreate(&begin_));
    call(cudaEventCreate(&end_));
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  double seconds(const std::vector<Work>& works) {
    call(cudaEventRecord(begin_, gpu_stream()));
    for (const Work& work : works) work();
    call(cudaEventRecord(end_, gpu_stream()));
    call(cudaEventSynchronize(end_));
    float milliseconds = 0;
    call(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t begin_{}, end_{};
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The median time of one of `works`, which run one after another: a round for each iteration, and some before, which
/// start what is started once and wake the GPU's clocks.
double median_seconds(benchmark::State& state, const std::vector<Work>& works) {
  Stopwatch watch;
  for (std::int64_t i = std::min<std::int64_t>(state.max_iterations - 1, 3); i > 0; --i) watch.seconds(works);
  std::vector<double> times;
  for (auto _ : state) {
    times.push_back(watch.seconds(works) / static_cast<double>(works.size()));
    state.SetIterationTime(times.back());
  }
  state.counters["median_us"] = 1e6 * median(times);
  return median(times);
}

double median_seconds(const Work& work) {
  Stopwatch watch;
  std::vector<double> times;
  for (std::int64_t i = 0; i < sized(5, 1); ++i) watch.seconds({work});
  for (std::int64_t i = 0; i < sized(21, 1); ++i) times.push_back(watch.seconds({work}));
  return median(times);
}

std::uint64_t pool_attribute(cudaMemPoolAttr attribute) {
  cudaMemPool_t pool{};
  std::uint64_t bytes = 0;
  call(cudaDeviceGetDefaultMemPool(&pool, 0));
  call(cudaMemPoolGetAttribute(pool, attribute, &bytes));
  return bytes;
}

}  // namespace

const Device& gpu() {
  // never destroyed: cuDNN's parts, which it loads at its first use, end before what was made earlier
  static const Device& device = *new Device(Device::cuda(0));
  return device;
}

kernels::cuda::Stream gpu_stream() { return static_cast<kernels::cuda::Stream>(gpu().stream()); }

std::int64_t sized(std::int64_t size, std::int64_t few) {
  static const bool host_executor = is_host_executor();
  return host_executor ? few : size;
}

Tensor random_on_gpu(const Shape& shape, dtype type) {
  constexpr std::int64_t most = 1 << 20;
  static std::uint64_t seed = 0;
  Random random(++seed);
  Tensor all(shape, type, gpu());
  const std::int64_t n = shape.numel();
  const Shape block{std::min(n, most)};
  const Tensor some =
      to(type == dtype::u8 ? to(scale(rand(block, random), 255), type) : randn(block, random, type), gpu());
  for (std::int64_t first = 0; first < n; first += most) {
    const Shape part{std::min(most, n - first)};
    all.view(first, part).copy_from(some.view(0, part));
  }
  return all;
}

double copy_rate() {
  static const double rate = [] {
    const std::int64_t bytes = sized(1 << 30, 1 << 10);  // far more than any cache
    const Tensor from = random_on_gpu({bytes}, dtype::u8);
    Tensor copy = empty_like(from);
    return 2 * static_cast<double>(bytes) / median_seconds([&] { copy.copy_from(from); });
  }();
  return rate;
}

double matrix_rate() {
  static const double rate = [] {
    const std::int64_t n = sized(8192, 16);
    const Tensor a = random_on_gpu({n, n}, dtype::bf16), b = random_on_gpu({n, n}, dtype::bf16);
    return 2 * static_cast<double>(n * n * n) / median_seconds([&] { matmul(a, b, {.transpose_b = true}); });
  }();
  return rate;
}

Work replayed(const Work& work) {
  work();
  return [graph = std::make_shared<Graph>(gpu(), work)] { graph->replay(); };
}

void on_gpu(benchmark::internal::Benchmark* bench) {
  bench->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(21);
}

double report_time(benchmark::State& state, const Work& work) {
  cudaMemPool_t pool{};
  std::uint64_t none = 0;
  call(cudaDeviceGetDefaultMemPool(&pool, 0));
  call(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &none));  // the mark falls to what is in use
  const std::uint64_t before = pool_attribute(cudaMemPoolAttrUsedMemCurrent);
  const double seconds = median_seconds(state, {work});
  state.counters["peak_bytes"] = static_cast<double>(pool_attribute(cudaMemPoolAttrUsedMemHigh) - before);
  return seconds;
}

void report_device_bandwidth(benchmark::State& state, std::int64_t bytes, const std::function<Work()>& make) {
  constexpr std::int64_t caches = 256 << 20;
  std::vector<Work> works;
  for (std::int64_t made = 0; made < sized(caches, 1); made += bytes) works.push_back(make());
  const double rate = static_cast<double>(bytes) / median_seconds(state, works);
  state.counters["bytes_per_second"] = rate;
  state.counters["of_copy"] = rate / copy_rate();
}

double report_device_flops(benchmark::State& state, double flops, const Work& work) {
  const double seconds = report_time(state, work);
  state.counters["flops"] = flops / seconds;
  state.counters["of_matrix_rate"] = flops / seconds / matrix_rate();
  return seconds;
}

}  // namespace clip::bench
