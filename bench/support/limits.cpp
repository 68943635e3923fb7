#include "bench/support/limits.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "clip/core/tensor.hpp"
#include "kernels/cpu/simd.hpp"

namespace clip::bench {
namespace {

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Copies the first half of `buffer` to the second, on all threads: memcpy of each thread's share.
void copy(Tensor& buffer) {
  const auto half = static_cast<std::int64_t>(buffer.bytes() / 2);
  auto* bytes = static_cast<char*>(buffer.mutable_raw());
  kernels::cpu::parallel_for(
      half, 1 << 16,
      [=](std::int64_t begin, std::int64_t end) {
        std::memcpy(bytes + half + begin, bytes + begin, static_cast<std::size_t>(end - begin));
      },
      64);
}

/// As many f32 operations as asked for, in multiply-adds on registers, shared by all threads.
void multiply_add(std::int64_t flops) {
  constexpr std::int64_t chains = 12;
  using kernels::cpu::f32x16;
  const std::int64_t threads = num_threads(), rounds = flops / (2 * kernels::cpu::lanes * chains * threads);
  std::vector<float> sink(static_cast<std::size_t>(threads));
  kernels::cpu::parallel_for(threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      f32x16 a[chains];
      for (std::int64_t c = 0; c < chains; ++c) a[c] = kernels::cpu::splat(static_cast<float>(c));
      for (std::int64_t i = 0; i < rounds; ++i)
        for (std::int64_t c = 0; c < chains; ++c) a[c] = a[c] * 0.999f + 0.5f;
      for (std::int64_t c = 1; c < chains; ++c) a[0] += a[c];
      sink[static_cast<std::size_t>(t)] = kernels::cpu::sum(a[0]);
    }
  });
  benchmark::DoNotOptimize(sink.data());
}

struct Seconds {
  double work, peer;
};

/// Median times of the two, run in turns, so that both see the same machine.
Seconds alternate(benchmark::State& state, const std::function<void()>& work, const std::function<void()>& peer) {
  std::vector<double> ours, theirs;
  work();
  peer();
  for (auto _ : state) {
    ours.push_back(seconds(work));
    state.PauseTiming();
    theirs.push_back(seconds(peer));
    state.ResumeTiming();
  }
  return {median(ours), median(theirs)};
}

}  // namespace

void report_bandwidth(benchmark::State& state, std::int64_t bytes, const std::function<void()>& work) {
  Tensor buffer = full({bytes}, 1, dtype::u8);
  const Seconds median = alternate(state, work, [&] { copy(buffer); });
  state.counters["bytes_per_second"] = static_cast<double>(bytes) / median.work;
  state.counters["of_copy"] = median.peer / median.work;
}

void report_flops(benchmark::State& state, std::int64_t flops, const std::function<void()>& work) {
  const Seconds median = alternate(state, work, [&] { multiply_add(flops); });
  state.counters["flops"] = static_cast<double>(flops) / median.work;
  state.counters["of_fma"] = median.peer / median.work;
}

void report_against(benchmark::State& state, std::int64_t flops, const std::function<void()>& work,
                    const std::function<void()>& peer) {
  const Seconds median = alternate(state, work, peer);
  state.counters["flops"] = static_cast<double>(flops) / median.work;
  state.counters["of_peer"] = median.peer / median.work;
}

void report_against_parts(benchmark::State& state, const std::vector<Part>& parts, const std::function<void()>& work) {
  std::vector<double> ours;
  std::vector<std::vector<double>> theirs(parts.size());
  work();
  for (auto _ : state) {
    ours.push_back(seconds(work));
    state.PauseTiming();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      parts[i].primitive.run();
      theirs[i].push_back(seconds(parts[i].primitive.run));
    }
    state.ResumeTiming();
  }
  double sum = 0;
  std::int64_t flops = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    sum += median(theirs[i]) * static_cast<double>(parts[i].times);
    flops += parts[i].primitive.flops * parts[i].times;
  }
  state.counters["flops"] = static_cast<double>(flops) / median(ours);
  state.counters["of_parts"] = sum / median(ours);
}

}  // namespace clip::bench
