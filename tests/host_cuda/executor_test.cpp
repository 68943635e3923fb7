// The host executor finds mistakes: each kernel here has one, beside the same kernel without it.
#include "tests/host_cuda/executor.hpp"

#include <cuda_runtime.h>

#include <numeric>
#include <vector>

#include "kernels/device/async_copy.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/shared.cuh"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::kernels::cuda;

namespace {

constexpr unsigned all_lanes = ~0u;

struct Row {
  float values[128];
};

/// y = x with each block's 128 elements in reverse.
template <bool barrier>
__global__ void reverse(float* y, const float* x) {
  Row& row = shared_as<Row>();
  row.values[threadIdx.x] = x[blockIdx.x * 128 + threadIdx.x];
  if (barrier) __syncthreads();
  y[blockIdx.x * 128 + threadIdx.x] = row.values[127 - threadIdx.x];
}

/// The same within warps, where the lanes wait for each other only.
template <bool barrier>
__global__ void reverse_in_warps(float* y, const float* x) {
  Row& row = shared_as<Row>();
  row.values[threadIdx.x] = x[blockIdx.x * 128 + threadIdx.x];
  if (barrier) __syncwarp();
  y[blockIdx.x * 128 + threadIdx.x] = row.values[threadIdx.x ^ 31u];
}

/// The sum of 128 elements of each block, first in its warps, then of their sums.
template <bool second_barrier>
__global__ void sums_of_two(float* y, const float* x) {
  Row& row = shared_as<Row>();
  for (unsigned part = 0; part < 2; ++part) {
    float sum = x[part * 128 + threadIdx.x];
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(all_lanes, sum, bits);
    if (threadIdx.x % 32 == 0) row.values[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x % 32 == 0)
      y[part * 4 + threadIdx.x / 32] = row.values[0] + row.values[1] + row.values[2] + row.values[3];
    if (second_barrier) __syncthreads();  // before the next part overwrites what other warps read
  }
}

__global__ void barrier_of_some() {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void two_barriers() {
  if (threadIdx.x < 64)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void shuffle_after_exit(float* y) {
  if (threadIdx.x == 7) return;
  y[threadIdx.x] = __shfl_xor_sync(all_lanes, y[threadIdx.x], 1);
}
__global__ void shuffle_outside_mask(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, y[threadIdx.x], 20);
}
__global__ void mask_without_caller(float* y) { y[threadIdx.x] = __shfl_xor_sync(0xffffu, y[threadIdx.x], 1); }
__global__ void mask_beyond_block(float* y) { y[threadIdx.x] = __shfl_xor_sync(all_lanes, y[threadIdx.x], 1); }
__global__ void masks_that_differ(float* y) {
  const unsigned mask = threadIdx.x < 16 ? 0xffffu : all_lanes;
  y[threadIdx.x] = __shfl_xor_sync(mask, y[threadIdx.x], 1);
}
__global__ void overrun(unsigned long extra) {
  volatile float* const values = shared_as<Row>().values;
  values[threadIdx.x + extra] = 1;
}
__global__ void more_than_asked() { shared_as<Row>().values[threadIdx.x] = 1; }
__global__ void sum_of_unwritten(float* y) {
  float* const values = shared_as<Row>().values;
  if (threadIdx.x < 127) values[threadIdx.x] = 1;  // the last is forgotten
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = 0; i < 128; ++i) y[blockIdx.x] += values[i];
}
/// y = x by way of shared memory, but for every other four, which are 0.
template <bool wait>
__global__ void copied(float* y, const float* x, unsigned shift) {
  float* const row = shared_as<Row>().values + 4 * threadIdx.x;
  copy_async(row, x + 4 * threadIdx.x + shift, threadIdx.x % 2 == 0);
  if (wait) wait_for_copies();
  for (unsigned i = 0; i < 4; ++i) y[4 * threadIdx.x + i] = row[i];
}
/// The same in groups of four numbers each, read when all but the last `Later` groups have come.
template <int Later>
__global__ void copied_in_groups(float* y, const float* x) {
  float* const row = shared_as<Row>().values;
  for (unsigned group = 0; group < 4; ++group) {
    copy_async(row + 4 * group, x + 4 * group, true);
    commit_copies();
  }
  wait_for_groups<Later>();
  for (unsigned i = 0; i < 16; ++i) y[i] = row[i];
}
__global__ void prefix_over_blocks(float* y) { y[blockIdx.x + 1] = y[blockIdx.x] + 1; }

/// Whether y of 8 blocks is x reversed within every `width` elements, in each of some launches.
template <class Kernel>
bool reverses(Kernel* kernel, unsigned width) {
  std::vector<float> x(1024), y(1024);
  std::iota(x.begin(), x.end(), 0.0f);
  bool good = true;
  for (int repeat = 0; repeat < 4; ++repeat) {
    launch("reverse", {8, {128}, sizeof(Row)}, nullptr, kernel, y.data(), x.data());
    for (unsigned i = 0; i < 1024; ++i) good = good && y[i] == x[i / width * width + (width - 1 - i % width)];
  }
  return good;
}

template <class Kernel, class... Arguments>
bool caught(const std::string& part, unsigned threads, std::size_t shared_bytes, Kernel* kernel,
            const Arguments&... arguments) {
  try {
    launch("broken", {2, {threads}, shared_bytes}, nullptr, kernel, arguments...);
  } catch (const host_cuda::Mistake& mistake) {
    return test::contains(mistake.what(), part);
  }
  return false;
}

}  // namespace

TEST_CASE("a missing block barrier shows", "[host_cuda]") {
  CHECK(reverses(reverse<true>, 128));
  CHECK_FALSE(reverses(reverse<false>, 128));
}

TEST_CASE("a missing warp barrier shows", "[host_cuda]") {
  CHECK(reverses(reverse_in_warps<true>, 32));
  CHECK_FALSE(reverses(reverse_in_warps<false>, 32));
}

TEST_CASE("a missing barrier before shared memory is used again shows", "[host_cuda]") {
  std::vector<float> x(256);
  std::iota(x.begin(), x.end(), 0.0f);
  const auto good = [&](auto* kernel) {
    bool all = true;
    for (int repeat = 0; repeat < 16; ++repeat) {
      std::vector<float> y(8);
      launch("sums_of_two", {1, {128}, sizeof(Row)}, nullptr, kernel, y.data(), x.data());
      for (unsigned i = 0; i < 8; ++i) all = all && y[i] == (i < 4 ? 8128.0f : 8128.0f + 128 * 128);
    }
    return all;
  };
  CHECK(good(sums_of_two<true>));
  CHECK_FALSE(good(sums_of_two<false>));
}

TEST_CASE("barriers that not all threads reach are mistakes", "[host_cuda]") {
  CHECK(caught("24 finished", 64, 0, barrier_of_some));
  CHECK(caught("64 at the barrier of executor_test.cpp", 128, 0, two_barriers));
}

TEST_CASE("warp operations with wrong masks are mistakes", "[host_cuda]") {
  std::vector<float> y(64);
  CHECK(caught("31 in the warp operation", 64, 0, shuffle_after_exit, y.data()));
  CHECK(caught("reads one outside the mask", 32, 0, shuffle_outside_mask, y.data()));
  CHECK(caught("leaves out the thread itself", 32, 0, mask_without_caller, y.data()));
  CHECK(caught("lanes that the block does not have", 48, 0, mask_beyond_block, y.data()));
  CHECK(caught("with mask 0xffffffff", 32, 0, masks_that_differ, y.data()));
}

TEST_CASE("shared memory ends where the launch says", "[host_cuda]") {
  CHECK(caught("the launch asked for 256", 128, 256, more_than_asked));
  CHECK(test::throws_with([] { launch("greedy", {1, {128}, 227 * 1024 + 1}, nullptr, more_than_asked); }, "greedy"));
#ifndef CLIP_ADDRESS_SANITIZER  // which would stop the program, as the test `shared memory is guarded` shows
  CHECK(caught("written past the 512 bytes", 128, sizeof(Row), overrun, 1ul));
#endif
}

TEST_CASE("shared memory is guarded", "[host_cuda][.overrun]") {
  launch("overrun", {1, {128}, sizeof(Row)}, nullptr, overrun, 1ul);
}

TEST_CASE("shared memory that was not written shows", "[host_cuda]") {
  std::vector<float> y(4);
  launch("sum_of_unwritten", {4, {128}, sizeof(Row)}, nullptr, sum_of_unwritten, y.data());
  for (const float sum : y) CHECK(sum != sum);
}

TEST_CASE("asynchronous copies arrive when they are waited for", "[host_cuda]") {
  alignas(16) float x[132], y[128];
  std::iota(x, x + 132, 1.0f);
  launch("copied", {1, {32}, sizeof(Row)}, nullptr, copied<true>, y, x, 0u);
  for (unsigned i = 0; i < 128; ++i) CHECK(y[i] == (i / 4 % 2 == 0 ? x[i] : 0.0f));
  launch("copied", {1, {32}, sizeof(Row)}, nullptr, copied<false>, y, x, 0u);
  for (const float each : y) CHECK(each != each);
  CHECK(caught("no multiple of 16", 32, sizeof(Row), copied<true>, y, x, 1u));
  launch("copied_in_groups", {1, {1}, sizeof(Row)}, nullptr, copied_in_groups<1>, y, x);
  for (unsigned i = 0; i < 16; ++i) CHECK((i < 12 ? y[i] == x[i] : y[i] != y[i]));
  launch("copied_in_groups", {1, {1}, sizeof(Row)}, nullptr, copied_in_groups<0>, y, x);
  for (unsigned i = 0; i < 16; ++i) CHECK(y[i] == x[i]);
}

TEST_CASE("blocks run in any order", "[host_cuda]") {
  std::vector<float> y(33);
  launch("prefix_over_blocks", {32, {1}}, nullptr, prefix_over_blocks, y.data());
  CHECK(y[32] != 32.0f);
}

TEST_CASE("a kernel runs after one that was given up", "[host_cuda]") {
  for (int repeat = 0; repeat < 3; ++repeat) {
    CHECK(caught("finished", 64, 0, barrier_of_some));
    CHECK(reverses(reverse<true>, 128));
  }
}
