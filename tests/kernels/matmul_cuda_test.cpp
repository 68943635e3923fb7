// The product as the library calls it: through cuBLASLt on a GPU, through its stand-in on the host executor.
#include "kernels/matmul.hpp"

#include "tests/support/device_array.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;
using clip::kernels::MatmulShape;
namespace cuda = clip::kernels::cuda;

namespace {

/// Plans that live as long as the test.
class Plans {
 public:
  cuda::MatmulPlans& operator*() const { return *static_cast<cuda::MatmulPlans*>(owner_.get()); }

 private:
  std::shared_ptr<void> owner_ = cuda::make_matmul_plans(nullptr);
};

struct Extra {
  bool bias = false, accumulate = false;
  Activation activation = Activation::none;
  std::int64_t shift = 0;  // elements of each operand past an aligned address
};

/// Whether activation(a b + bias + y) is what a loop in double computes.
template <class T>
void check_matmul(cuda::MatmulPlans& plans, const MatmulShape& s, const Extra& extra = {}) {
  INFO(s.batch << " of [" << s.m << ", " << s.k << "] x [" << s.k << ", " << s.n << "], transposed " << s.transpose_a
               << s.transpose_b << ", shared " << s.share_a << s.share_b << ", bias " << extra.bias << ", accumulate "
               << extra.accumulate << ", activation " << static_cast<int>(extra.activation) << ", shift "
               << extra.shift);
  const auto a = random_values<T>((s.share_a ? 1 : s.batch) * s.m * s.k, -1, 1, 1);
  const auto b = random_values<T>((s.share_b ? 1 : s.batch) * s.k * s.n, -1, 1, 2);
  const auto bias = random_values<T>(s.n, -1, 1, 3), before = random_values<T>(s.batch * s.m * s.n, -1, 1, 4);
  DeviceArray<T> as(a, extra.shift), bs(b, extra.shift), biases(bias, extra.shift);
  DeviceArray<T> y =
      extra.accumulate ? DeviceArray<T>(before, extra.shift) : DeviceArray<T>(s.batch * s.m * s.n, extra.shift);
  cuda::matmul<T>(y.data(), as.data(), bs.data(), s,
                  {extra.bias ? biases.data() : nullptr, extra.accumulate, extra.activation}, plans);
  const std::vector<double> left = widened(a), right = widened(b), row = widened(bias);
  std::vector<double> expected = widened(before);
  for (std::int64_t l = 0; l < s.batch; ++l)
    for (std::int64_t i = 0; i < s.m; ++i)
      for (std::int64_t j = 0; j < s.n; ++j) {
        double& sum = expected[static_cast<std::size_t>((l * s.m + i) * s.n + j)];
        if (!extra.accumulate) sum = 0;
        if (extra.bias) sum += row[static_cast<std::size_t>(j)];
        for (std::int64_t p = 0; p < s.k; ++p)
          sum += left[static_cast<std::size_t>((s.share_a ? 0 : l * s.m * s.k) +
                                               (s.transpose_a ? p * s.m + i : i * s.k + p))] *
                 right[static_cast<std::size_t>((s.share_b ? 0 : l * s.k * s.n) +
                                                (s.transpose_b ? j * s.k + p : p * s.n + j))];
        sum = reference_activation(extra.activation, sum);
      }
  // Sums of TF32's products would be off by 1e-3. What is rounded twice is off by as much more.
  CHECK(worst_error(y.read(), expected) <= 3 * rounding<T> + 1e-7 * static_cast<double>(s.k));
}

}  // namespace

TEST_CASE("CUDA matrix products of every transpose", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (MatmulShape s : {MatmulShape{1, 1, 1, 1},
                              {1, 5, 1, 17},
                              {1, 1, 33, 2},
                              {1, 40, 72, 56},
                              {1, 17, 33, 100},
                              {0, 3, 4, 5},
                              {2, 0, 3, 4},
                              {2, 3, 0, 4},
                              {2, 3, 4, 0}}) {
          s.transpose_a = transpose_a;
          s.transpose_b = transpose_b;
          check_matmul<T>(*plans, s);
        }
  });
}

TEST_CASE("CUDA matrix products of batches, and of operands that all share", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (int shared = 0; shared < 4; ++shared)
          check_matmul<T>(*plans, {3, 7, 10, 13, transpose_a, transpose_b, (shared & 1) != 0, (shared & 2) != 0});
  });
}

TEST_CASE("CUDA matrix products do what cuBLASLt can of an epilogue, and then the rest", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const Activation f : {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh,
                               Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu})
      for (const MatmulShape s : {MatmulShape{1, 5, 24, 40}, {2, 6, 7, 9}, {1, 3, 5, 0}}) {
        check_matmul<T>(*plans, s, {.bias = true, .activation = f});
        check_matmul<T>(*plans, s, {.bias = true, .accumulate = true, .activation = f});
        check_matmul<T>(*plans, s, {.accumulate = true, .activation = f});
      }
  });
}

TEST_CASE("CUDA matrix products of misaligned operands are planned apart", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  for_each_type([&]<class T>() {
    for (const std::int64_t shift : {0, 1, 2, 8, 64, 0})
      check_matmul<T>(*plans, {2, 9, 16, 24},
                      {.bias = true, .accumulate = true, .activation = Activation::relu, .shift = shift});
  });
}

TEST_CASE("CUDA matrix products are the same to the bit when repeated", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans, others;
  const MatmulShape s{1, 16, 24, 2048};  // long sums, which a GPU may split
  const auto a = random_values<bf16>(s.m * s.k, -1, 1, 1), b = random_values<bf16>(s.k * s.n, -1, 1, 2);
  DeviceArray<bf16> as(a), bs(b), first(s.m * s.n), again(s.m * s.n);
  cuda::matmul<bf16>(first.data(), as.data(), bs.data(), s, {}, *plans);
  for (const Plans* same : {&plans, &others}) {
    cuda::matmul<bf16>(again.data(), as.data(), bs.data(), s, {}, **same);
    CHECK(same_bits(first.read(), again.read()));
  }
}

TEST_CASE("CUDA matrix products read each call's own bias", "[kernels][cuda]") {
  if (!have_device()) return;
  const Plans plans;
  const MatmulShape s{1, 2, 64, 8};
  const std::vector<float> zeros(static_cast<std::size_t>(s.k * s.n));
  DeviceArray<float> a(zeros), b(zeros), first(random_values<float>(2 * s.n, -1, 1, 1)), y(s.m * s.n);
  for (const std::int64_t at : {std::int64_t{0}, s.n, std::int64_t{0}}) {  // both as aligned as the other
    cuda::matmul<float>(y.data(), a.data(), b.data(), s, {.bias = first.data() + at}, *plans);
    const std::vector<float> biases = first.read(), sums = y.read();
    for (std::size_t j = 0; j < 64; ++j) CHECK(sums[j] == biases[j + static_cast<std::size_t>(at)]);
  }
}
