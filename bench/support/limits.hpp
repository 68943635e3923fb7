#pragma once
// The machine's limits, measured beside the kernels: a figure means little without the bound it is held against.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "bench/support/primitives.hpp"

namespace clip::bench {

/// Times `work`, which moves `bytes`, alternating with copies of as many bytes, and reports `bytes_per_second` and
/// `of_copy`: the ratio of the median rates.
void report_bandwidth(benchmark::State& state, std::int64_t bytes, const std::function<void()>& work);

/// Times `work`, of `flops` f32 operations, alternating with as many in multiply-adds on registers, and reports `flops`
/// a second and `of_fma`: the ratio of the median rates.
void report_flops(benchmark::State& state, std::int64_t flops, const std::function<void()>& work);

/// Times `work`, of `flops` operations, alternating with `peer`, and reports `flops` a second and `of_peer`: the peer's
/// median time over the work's; 1 is as fast.
void report_against(benchmark::State& state, std::int64_t flops, const std::function<void()>& work,
                    const std::function<void()>& peer);

/// Times `work` alternating with the sum of `parts`, each started twice and timed the second time, when all it reads is
/// as near as it can be, and counted `times` over. Reports `flops` a second and `of_parts`: the parts' median sum over
/// the work's median time.
struct Part {
  Primitive primitive;
  std::int64_t times;
};
void report_against_parts(benchmark::State& state, const std::vector<Part>& parts, const std::function<void()>& work);

}  // namespace clip::bench
