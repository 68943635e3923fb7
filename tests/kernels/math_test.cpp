#include "kernels/cpu/math.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/activation.hpp"
#include "tests/support/catch.hpp"

using namespace clip;
using namespace clip::kernels::cpu;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();

/// The instruction sets that this CPU has.
std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets{InstructionSet::baseline};
  if (instruction_set() >= InstructionSet::avx2) sets.push_back(InstructionSet::avx2);
  if (instruction_set() == InstructionSet::avx512) sets.push_back(InstructionSet::avx512);
  return sets;
}

template <class Body>
void run(InstructionSet set, std::size_t n, const Body& body) {
  const auto end = static_cast<std::int64_t>(n);
#if defined(__x86_64__)
  if (set == InstructionSet::avx512) return kernels::cpu::detail::run_avx512(body, 0, end);
  if (set == InstructionSet::avx2) return kernels::cpu::detail::run_avx2(body, 0, end);
#endif
  body(0, end);
}

/// f on every element of `x`.
template <class F>
std::vector<float> evaluate(const std::vector<float>& x, const F& f, InstructionSet set = instruction_set()) {
  std::vector<float> y(x.size());
  float* out = y.data();
  const float* in = x.data();
  run(set, x.size(), [=](std::int64_t begin, std::int64_t end) { map(out, begin, end, false, f, in); });
  return y;
}

/// Every 1021st float between `low` and `high`, of both signs where they are.
std::vector<float> sweep(float low, float high) {
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 1021)
    for (const std::uint32_t sign : {0u, 0x80000000u}) {
      const float value = std::bit_cast<float>(bits | sign);
      if (value >= low && value <= high) x.push_back(value);
    }
  return x;
}

/// Largest error of f on `x`, in any instruction set, in units of the last place of the reference or, where that is
/// smaller, of the smallest normal number.
template <class F>
double worst_ulp(const std::vector<float>& x, const F& f, double (*reference)(double)) {
  double worst = 0;
  for (const InstructionSet set : instruction_sets()) {
    const std::vector<float> y = evaluate(x, f, set);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = reference(x[i]);
      const double ulp = std::ldexp(1.0, std::ilogb(std::max(std::abs(expected), 0x1p-126)) - 23);
      const double error = std::abs(y[i] - expected) / ulp;
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

double phi(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

#define LANES(call) \
  [](f32x16 v) __attribute__((always_inline)) { return call; }

}  // namespace

TEST_CASE("exp is accurate over its whole range and right at its ends", "[kernels]") {
  const auto f = LANES(kernels::cpu::exp(v));
  const std::vector<float> x = sweep(-87.33654f, 88.72283f);
  CHECK(worst_ulp(x, f, std::exp) < 2.5);
  const std::vector<float> y =
      evaluate({0.0f, -0.0f, inf, -inf, not_a_number, 88.7228394f, 88.7229f, -87.33655f, -104, 1e30f, 1e-40f}, f);
  CHECK(y[0] == 1);
  CHECK(y[1] == 1);
  CHECK(y[2] == inf);
  CHECK(y[3] == 0);
  CHECK(std::isnan(y[4]));
  CHECK((y[5] > 3.4e38f));
  CHECK(y[6] == inf);
  CHECK(y[7] == 0);
  CHECK(y[8] == 0);
  CHECK(y[9] == inf);
  CHECK(y[10] == 1);
}

TEST_CASE("exp_nonpositive is accurate down to 0", "[kernels]") {
  const auto f = LANES(exp_nonpositive(v));
  const std::vector<float> x = sweep(-87.33654f, 0);
  CHECK(worst_ulp(x, f, std::exp) < 2.5);
  const std::vector<float> y = evaluate({0.0f, -0.0f, -inf, not_a_number, -87.8f, -1e30f, -87.5f}, f);
  CHECK(y[0] == 1);
  CHECK(y[1] == 1);
  CHECK(y[2] == 0);
  CHECK(std::isnan(y[3]));
  CHECK(y[4] == 0);
  CHECK(y[5] == 0);
  CHECK(y[6] < 1.17549435e-38f);
}

TEST_CASE("log is accurate for normal numbers and right at its ends", "[kernels]") {
  const auto f = LANES(kernels::cpu::log(v));
  const std::vector<float> x = sweep(1.17549435e-38f, 3.40282347e+38f);
  CHECK(worst_ulp(x, f, std::log) < 3);
  const std::vector<float> y = evaluate({1, 0.0f, -0.0f, 1e-40f, inf, not_a_number, -1, -inf}, f);
  CHECK(y[0] == 0);
  for (const std::size_t i : {1u, 2u, 3u}) CHECK(y[i] == -inf);
  CHECK(y[4] == inf);
  for (const std::size_t i : {5u, 6u, 7u}) CHECK(std::isnan(y[i]));
}

TEST_CASE("sqrt is accurate for normal numbers and right at its ends", "[kernels]") {
  const auto f = [](f32x16 v) __attribute__((always_inline)) { return kernels::cpu::sqrt(v); };
  CHECK(worst_ulp(sweep(std::numeric_limits<float>::min(), std::numeric_limits<float>::max()), f, std::sqrt) < 1.5);
  const std::vector<float> y = evaluate({0.0f, inf, not_a_number, 1e-40f}, f);
  CHECK(y[0] == 0);
  CHECK(y[1] == inf);
  CHECK(std::isnan(y[2]));
  CHECK((y[3] >= 0 && y[3] <= 1.1e-20f));
}

TEST_CASE("tanh and sigmoid are accurate everywhere", "[kernels]") {
  const std::vector<float> x = sweep(-100, 100), specials = {0.0f, -0.0f, inf, -inf, not_a_number};
  const auto t = LANES(kernels::cpu::tanh(v));
  const auto s = LANES(kernels::cpu::sigmoid(v));
  CHECK(worst_ulp(x, t, std::tanh) < 4);
  const std::vector<float> normal = sweep(-87.3f, 100);  // results below the smallest normal number become 0
  CHECK(worst_ulp(normal, s, logistic) < 4);
  const std::vector<float> y = evaluate(specials, t), z = evaluate(specials, s);
  CHECK((y[0] == 0 && !std::signbit(y[0])));
  CHECK((y[1] == 0 && std::signbit(y[1])));
  CHECK(y[2] == 1);
  CHECK(y[3] == -1);
  CHECK(std::isnan(y[4]));
  CHECK(z[0] == 0.5f);
  CHECK(z[2] == 1);
  CHECK(z[3] == 0);
  CHECK(std::isnan(z[4]));
}

TEST_CASE("normal_cdf keeps its relative accuracy where it is small", "[kernels]") {
  const auto f = LANES(normal_cdf(v));
  const std::vector<float> near = sweep(-2, 20), far = sweep(-12, -2);
  CHECK(worst_ulp(near, f, phi) < 10);
  CHECK(worst_ulp(far, f, phi) < 80);  // x^2 / 2 is rounded before its exponential
  const std::vector<float> y = evaluate({0, -0.0f, inf, -inf, not_a_number, 30, -30}, f);
  CHECK(y[0] == 0.5f);
  CHECK(y[1] == 0.5f);
  CHECK(y[2] == 1);
  CHECK(y[3] == 0);
  CHECK(std::isnan(y[4]));
  CHECK(y[5] == 1);
  CHECK(y[6] == 0);
}

TEST_CASE("bf16 lanes widen and round as the scalar type does", "[kernels]") {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 4093)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (std::uint32_t high = 0; high < 0x10000u; ++high)  // ties, and their neighbours
    for (const std::uint32_t low : {0x7fffu, 0x8000u, 0x8001u}) x.push_back(std::bit_cast<float>((high << 16) | low));
  for (const InstructionSet set : instruction_sets()) {
    std::vector<bf16> y(x.size());
    std::vector<float> back(x.size());
    bf16* narrowed = y.data();
    float* widened = back.data();
    const float* in = x.data();
    const auto same = LANES(v);
    run(set, x.size(), [=](std::int64_t begin, std::int64_t end) {
      map(narrowed, begin, end, false, same, in);
      map(widened, begin, end, false, same, narrowed);
    });
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      wrong += y[i].bits != bf16(x[i]).bits;
      wrong += std::bit_cast<std::uint32_t>(back[i]) != std::uint32_t{y[i].bits} << 16;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("gelu and its derivative hold at infinities and keep NaN", "[kernels]") {
  constexpr float x[] = {inf, -inf, not_a_number, 0, -20, 20};
  constexpr float ones[] = {1, 1, 1, 1, 1, 1};
  float y[6], dx[6];
  activation_forward(Activation::gelu, y, x, 6);
  activation_backward(Activation::gelu, dx, ones, x, 6);
  CHECK(y[0] == inf);
  CHECK(y[1] == 0);
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == 0);
  CHECK(y[4] == 0);
  CHECK(y[5] == 20);
  CHECK(dx[0] == 1);
  CHECK(dx[1] == 0);
  CHECK(std::isnan(dx[2]));
  CHECK(dx[3] == 0.5f);
  CHECK(dx[4] == 0);
  CHECK(dx[5] == 1);
}
