#include "clip/core/random.hpp"

#include <cmath>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;

TEST_CASE("philox gives the published numbers", "[random]") {
  // Known answers for philox4x32-10 that its authors publish with Random123.
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t ones = 0xffffffffu;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) == Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("the same seed and offset give the same numbers for every thread count and device", "[random][threads]") {
  const std::int64_t n = 100003;
  const int before = num_threads();
  std::vector<float> normal, uniform;
  for (const Device& device : test::devices())
    for (const int threads : {1, 2, 5}) {
      set_num_threads(threads);
      Random random(42);
      const std::vector<float> z = randn({n}, random, dtype::f32, device).to_vector();
      CHECK(random.offset() == static_cast<std::uint64_t>((n + 3) / 4));
      const std::vector<float> u = rand({n}, random, dtype::f32, device).to_vector();
      if (normal.empty()) normal = z, uniform = u;
      CHECK(z == normal);
      CHECK(u == uniform);
      Random resumed(42, static_cast<std::uint64_t>((n + 3) / 4));
      CHECK(rand({n}, resumed, dtype::f32, device).to_vector() == uniform);
    }
  set_num_threads(before);
  Random other(43);
  CHECK(randn({n}, other).to_vector() != normal);
}

TEST_CASE("normal and uniform numbers have their moments and bounds", "[random]") {
  Random random(7);
  const std::int64_t n = 1000000;
  double sum = 0, squares = 0, fourth = 0, beyond_two = 0;
  for (const double z : randn({n}, random).to_vector()) {
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    beyond_two += std::abs(z) > 2;
  }
  CHECK(std::abs(sum / n) < 5e-3);
  CHECK(std::abs(squares / n - 1) < 1e-2);
  CHECK(std::abs(fourth / n - 3) < 5e-2);
  CHECK(std::abs(beyond_two / n - 0.0455) < 1e-3);
  double mean = 0;
  for (const float u : rand({n}, random).to_vector()) {
    mean += u;
    if (u < 0 || u >= 1) FAIL("outside [0, 1): " << u);
  }
  CHECK(std::abs(mean / n - 0.5) < 2e-3);
}

TEST_CASE("random numbers come in every floating dtype and no other", "[random]") {
  Random a(1), b(1), c(1);
  const float x = randn({5}, a).to_vector()[4];
  CHECK(float(randn({5}, b, dtype::bf16).to_vector<bf16>()[4]) == float(bf16(x)));
  CHECK(float(randn({5}, c, dtype::f16).to_vector<f16>()[4]) == float(f16(x)));
  CHECK(randn({0}, a).numel() == 0);
  CHECK(test::throws_with([&] { randn({1}, a, dtype::i32); }, "[randn] expected a floating dtype, got i32"));
}
