// The stand-ins for a warp's matrix instructions, against the layouts as PTX's manual puts them: element i of a lane's
// fragment, in groups of four lanes.
#include "kernels/device/mma.cuh"

#include <algorithm>
#include <vector>

#include "kernels/device/launch.cuh"
#include "kernels/device/shared.cuh"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::kernels::cuda;

namespace {

/// y [16, 8] += a [16, 16] b [16, 8]
template <class T>
__global__ void product(float* y, const T* a, const T* b) {
  const unsigned group = threadIdx.x / 4, in_group = threadIdx.x % 4;
  Packed<T, 2> fa[4], fb[2];
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    fa[i / 2].e[i % 2] = a[row * 16 + in_group * 2 + (i & 1) + (i < 4 ? 0 : 8)];
  }
  for (unsigned i = 0; i < 4; ++i) fb[i / 2].e[i % 2] = b[(in_group * 2 + (i & 1) + (i < 2 ? 0 : 8)) * 8 + group];
  float sum[4];
  const auto place = [=](unsigned i) { return (i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1); };
  for (unsigned i = 0; i < 4; ++i) sum[i] = y[place(i)];
  mma(sum, fa, fb[0], fb[1]);
  for (unsigned i = 0; i < 4; ++i) y[place(i)] = sum[i];
}

struct Matrices {
  bf16 rows[32][16];  // of which matrices have the first 8, or those from column `first` on
};

/// What each lane gets of four matrices whose elements are their numbers: y [32 lanes, 4 matrices, 2].
template <bool transposed>
__global__ void load_numbers(float* y, unsigned lanes, unsigned first) {
  Matrices& matrices = shared_as<Matrices>();
  for (unsigned c = 0; c < 8; ++c)
    matrices.rows[threadIdx.x][c + first] = bf16(static_cast<float>(8 * threadIdx.x + c));
  __syncwarp();
  if (threadIdx.x >= lanes) return;
  Packed<bf16, 2> m[4];
  const bf16* const row = &matrices.rows[threadIdx.x][first];
  if (transposed)
    load_matrices_transposed(m, row);
  else
    load_matrices(m, row);
  for (unsigned i = 0; i < 8; ++i) y[threadIdx.x * 8 + i] = static_cast<float>(m[i / 2].e[i % 2]);
}

/// y = how many elements of four matrices of ones are not 1 for each lane. Lanes write the rows that others name.
template <bool barrier>
__global__ void load_from_others(float* y) {
  Matrices& matrices = shared_as<Matrices>();
  for (unsigned c = 0; c < 8; ++c) matrices.rows[threadIdx.x ^ 31u][c] = bf16(1.0f);
  if (barrier) __syncwarp();
  Packed<bf16, 2> m[4];
  load_matrices(m, &matrices.rows[threadIdx.x][0]);
  for (unsigned i = 0; i < 8; ++i) y[threadIdx.x] += static_cast<float>(m[i / 2].e[i % 2]) == 1.0f ? 0.0f : 1.0f;
}

template <class T>
bool multiplies() {
  std::vector<T> a, b;
  std::vector<float> y, expected;
  for (int i = 0; i < 256; ++i) a.push_back(T(static_cast<float>(i * 7 % 31 - 15)));
  for (int i = 0; i < 128; ++i) b.push_back(T(static_cast<float>(i * 11 % 37 - 18)));
  for (unsigned i = 0; i < 128; ++i) {
    y.push_back(static_cast<float>(i));
    expected.push_back(y.back());
    for (unsigned k = 0; k < 16; ++k)
      expected.back() += static_cast<float>(a[i / 8 * 16 + k]) * static_cast<float>(b[k * 8 + i % 8]);
  }
  launch("product", {1, {32}}, nullptr, product<T>, y.data(), a.data(), b.data());
  return y == expected;
}

std::string mistake_of(unsigned lanes, unsigned first) {
  std::vector<float> y(256);
  try {
    launch("load_numbers", {1, {32}, sizeof(Matrices)}, nullptr, load_numbers<false>, y.data(), lanes, first);
  } catch (const host_cuda::Mistake& mistake) {
    return mistake.what();
  }
  return "";
}

}  // namespace

TEST_CASE("mma multiplies matrices that lanes have as PTX says", "[host_cuda]") {
  CHECK(multiplies<bf16>());
  CHECK(multiplies<f16>());
}

TEST_CASE("load_matrices gives lanes what PTX says", "[host_cuda]") {
  for (const bool transposed : {false, true}) {
    std::vector<float> y(256), expected;
    launch("load_numbers", {1, {32}, sizeof(Matrices)}, nullptr, transposed ? load_numbers<true> : load_numbers<false>,
           y.data(), 32u, 0u);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned i = 0; i < 8; ++i) {
        const unsigned row = lane / 4, column = lane % 4 * 2 + i % 2;
        expected.push_back(static_cast<float>(64 * (i / 2) + (transposed ? 8 * column + row : 8 * row + column)));
      }
    CHECK(y == expected);
  }
}

TEST_CASE("a missing warp barrier before matrices are loaded shows", "[host_cuda]") {
  const auto wrong = [](auto* kernel) {
    std::vector<float> y(32);
    launch("load_from_others", {1, {32}, sizeof(Matrices)}, nullptr, kernel, y.data());
    return std::count(y.begin(), y.end(), 0.0f) != 32;
  };
  for (int repeat = 0; repeat < 4; ++repeat) {
    CHECK_FALSE(wrong(load_from_others<true>));
    CHECK(wrong(load_from_others<false>));
  }
}

TEST_CASE("wrong uses of matrix instructions are mistakes", "[host_cuda]") {
  CHECK(test::contains(mistake_of(16, 0), "16 finished"));
  CHECK(test::contains(mistake_of(32, 1), "does not begin at a multiple of 16 bytes"));
  CHECK(mistake_of(32, 8).empty());
}
