#include "kernels/matmul.hpp"

#include <omp.h>

#include <cmath>
#include <memory>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;
using kernels::MatmulShape, kernels::cpu::matmul, kernels::cpu::PackedWeights;

namespace {

/// Elements one after a boundary of 64 bytes.
template <class T>
struct Misaligned {
  std::vector<T> memory;
  T* data;
  Misaligned(const Array& values) : memory(values.values.size() + 65) {
    data = memory.data();
    while (reinterpret_cast<std::uintptr_t>(data - 1) % 64 != 0) ++data;
    for (std::size_t i = 0; i < values.values.size(); ++i) data[i] = T(static_cast<float>(values.values[i]));
  }
};

/// Checks y = gelu(a b + bias + y) of misaligned operands, with and without packing.
template <class T>
void check_epilogue(const MatmulShape& s) {
  INFO(dtype_of<T> << ' ' << s.m << ' ' << s.n << ' ' << s.k);
  const Misaligned<T> a(random_array({s.m, s.k}, -1, 1, 1)), b(random_array({s.k, s.n}, -1, 1, 2));
  const Misaligned<T> bias(random_array({s.n}, -1, 1, 3)), before(random_array({s.m, s.n}, -1, 1, 4));
  const auto owner = kernels::cpu::make_packed_weights();
  for (PackedWeights* packed : {static_cast<PackedWeights*>(nullptr), static_cast<PackedWeights*>(owner.get())}) {
    const Misaligned<T> y(random_array({s.m, s.n}, -1, 1, 4));
    matmul<T>(y.data, a.data, b.data, s, {.bias = bias.data, .accumulate = true, .activation = Activation::gelu},
              packed);
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j) {
        double sum = static_cast<double>(bias.data[j]) + static_cast<double>(before.data[i * s.n + j]);
        for (std::int64_t p = 0; p < s.k; ++p)
          sum += static_cast<double>(a.data[s.transpose_a ? p * s.m + i : i * s.k + p]) *
                 static_cast<double>(b.data[s.transpose_b ? j * s.k + p : p * s.n + j]);
        const double tolerance = (std::is_same_v<T, float> ? 4e-6 : 8e-3) * std::max(1.0, std::abs(sum));
        REQUIRE(std::abs(y.data[i * s.n + j] - reference_activation(Activation::gelu, sum)) <= tolerance);
      }
  }
}

}  // namespace

TEST_CASE("matmul reads and writes at any alignment", "[kernels][onednn]") {
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true})
      for (const MatmulShape s : {MatmulShape{.m = 33, .n = 65, .k = 17}, MatmulShape{.m = 1, .n = 64, .k = 64},
                                  MatmulShape{.m = 128, .n = 1, .k = 63}, MatmulShape{.m = 5, .n = 7, .k = 0}}) {
        const MatmulShape shape{.m = s.m, .n = s.n, .k = s.k, .transpose_a = transpose_a, .transpose_b = transpose_b};
        check_epilogue<float>(shape);
        check_epilogue<bf16>(shape);
      }
}

TEST_CASE("matmul tells apart packed copies of a matrix and of its transpose", "[kernels][onednn]") {
  const Misaligned<float> x(random_array({4, 32}, -1, 1, 1)), w(random_array({32, 32}, -1, 1, 2));
  const auto owner = kernels::cpu::make_packed_weights();
  auto* packed = static_cast<PackedWeights*>(owner.get());
  for (const bool transpose_b : {false, true}) {
    const MatmulShape s{.m = 4, .n = 32, .k = 32, .transpose_b = transpose_b};
    std::vector<float> y(4 * 32), plain(4 * 32);
    matmul<float>(y.data(), x.data, w.data, s, {}, packed);
    matmul<float>(plain.data(), x.data, w.data, s);
    for (std::size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == Approx(plain[i]).margin(1e-5));
  }
}

TEST_CASE("matmul runs inside a parallel region", "[kernels][onednn]") {
  const MatmulShape s{.m = 200, .n = 130, .k = 70};
  const Misaligned<float> a(random_array({s.m, s.k}, -1, 1, 1)), b(random_array({s.k, s.n}, -1, 1, 2));
  std::vector<float> expected(static_cast<std::size_t>(s.m * s.n));
  matmul<float>(expected.data(), a.data, b.data, s);
  std::vector<std::vector<float>> results(3, std::vector<float>(expected.size()));
#pragma omp parallel for num_threads(3)
  for (int i = 0; i < 3; ++i) matmul<float>(results[static_cast<std::size_t>(i)].data(), a.data, b.data, s);
  for (const std::vector<float>& result : results)
    for (std::size_t i = 0; i < result.size(); ++i) REQUIRE(result[i] == Approx(expected[i]).margin(1e-5));
}
