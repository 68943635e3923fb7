#include "clip/ops/cast.hpp"

#include <cmath>

#include "clip/autograd.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/reduce.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

using namespace clip;
using namespace clip::test;

TEST_CASE("casts between floats round to nearest and carry gradients back", "[ops]") {
  for (const std::int64_t n : awkward) {
    const Array x = random_array({n}, -3, 3);
    const Tensor f32 = to_tensor(x).requires_grad();
    const std::vector<bf16> low = to(f32, dtype::bf16).to_vector<bf16>();
    const std::vector<f16> half = to(f32, dtype::f16).to_vector<f16>();
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (low[at].bits != bf16(static_cast<float>(x[i])).bits) FAIL("bf16 at " << i << " of " << n);
      if (half[at].bits != f16(static_cast<float>(x[i])).bits) FAIL("f16 at " << i << " of " << n);
    }
    CHECK(to(to(f32, dtype::bf16), dtype::f32).to_vector() == std::vector<float>(low.begin(), low.end()));
    backward(sum(to(scale(to(f32, dtype::bf16), 2), dtype::f32)));
    CHECK(f32.grad().to_vector() == std::vector<float>(static_cast<std::size_t>(n), 2.0f));
  }
  const Tensor x = Tensor::of({1});
  CHECK(to(x, dtype::f32).storage() == x.storage());
  CHECK(to(x, Device::cpu()).storage() == x.storage());
}

TEST_CASE("vectorised casts treat every bf16 and the rare f32 as the scalar ones do", "[ops]") {
  std::vector<bf16> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  const std::vector<float> wide = to(Tensor::from(all, {65536}), dtype::f32).to_vector();
  std::vector<float> rare(65536);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(wide[i]) != std::bit_cast<std::uint32_t>(float(all[i]))) FAIL("bits " << i);
    rare[i] =
        std::bit_cast<float>(static_cast<std::uint32_t>(i * 65536 + (i * 40503) % 65536));  // NaN, subnormals, ties
  }
  rare[1] = std::bit_cast<float>(0x7f800001u);
  rare[2] = std::bit_cast<float>(0x7fffffffu);
  rare[3] = std::bit_cast<float>(0x3f808000u);
  rare[4] = std::bit_cast<float>(0x3f818000u);
  const std::vector<bf16> narrow = to(Tensor::from(rare, {65536}), dtype::bf16).to_vector<bf16>();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (narrow[i].bits != bf16(rare[i]).bits) FAIL("f32 bits " << std::bit_cast<std::uint32_t>(rare[i]));
}

TEST_CASE("casts to integers truncate and saturate", "[ops]") {
  const Tensor x = Tensor::from(std::vector<float>{-1.9f, 2.9f, 300, -5, 1e30f, -1e30f, std::nanf("")}, {7});
  CHECK(to(x, dtype::u8).to_vector<std::uint8_t>() == std::vector<std::uint8_t>{0, 2, 255, 0, 255, 0, 0});
  CHECK(to(x, dtype::i32).to_vector<std::int32_t>() ==
        std::vector<std::int32_t>{-1, 2, 300, -5, INT32_MAX, INT32_MIN, 0});
  CHECK(to(x, dtype::i64).to_vector<std::int64_t>()[4] == INT64_MAX);
  CHECK(to(x, dtype::i64).to_vector<std::int64_t>()[5] == INT64_MIN);
  const Tensor ids = Tensor::of({1, 2, 255}, dtype::i64);
  CHECK(to(to(ids, dtype::u8), dtype::f32).to_vector() == std::vector<float>{1, 2, 255});
  CHECK(to(to(ids, dtype::i32), dtype::f16).to_vector<f16>()[2] == 255.0f);
}
