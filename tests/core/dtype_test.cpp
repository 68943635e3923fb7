#include "clip/core/dtype.hpp"

#include <cmath>
#include <limits>
#include <sstream>

#include "tests/support/catch.hpp"

using namespace clip;

namespace {

/// The nearest of two neighbours by exact distance, the even one on a tie.
template <class T>
void check_nearest(std::uint16_t low_bits) {
  T low, high;
  low.bits = low_bits;
  high.bits = static_cast<std::uint16_t>(low_bits + 1);
  const float a = low, b = high;
  if (!std::isfinite(a) || !std::isfinite(b)) return;
  const float middle = a + (b - a) / 2;
  const bool ok = T(a).bits == low.bits && T(b).bits == high.bits && T(std::nextafter(middle, a)).bits == low.bits &&
                  T(std::nextafter(middle, b)).bits == high.bits &&
                  T(middle).bits == (low_bits % 2 == 0 ? low.bits : high.bits);
  if (!ok) FAIL("rounding is off next to bits " << low_bits);
}

}  // namespace

TEST_CASE("bf16 and f16 keep every value of their own and round all others to the nearest, ties to even", "[dtype]") {
  for (std::uint32_t bits = 0; bits < 0xffff; ++bits) {
    if (bits == 0x7fff) continue;  // its neighbour is minus zero
    check_nearest<bf16>(static_cast<std::uint16_t>(bits));
    check_nearest<f16>(static_cast<std::uint16_t>(bits));
  }
}

TEST_CASE("bf16 and f16 keep infinities and NaN, and overflow to infinity", "[dtype]") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  CHECK(float(bf16(inf)) == inf);
  CHECK(float(f16(-inf)) == -inf);
  CHECK(std::isnan(float(bf16(nan))));
  CHECK(std::isnan(float(f16(nan))));
  CHECK(std::isnan(float(bf16(std::bit_cast<float>(0x7f800001u)))));  // a NaN whose upper half is infinity's
  CHECK(float(f16(65504.0f)) == 65504.0f);
  CHECK(float(f16(65519.0f)) == 65504.0f);
  CHECK(float(f16(65520.0f)) == inf);
  CHECK(float(f16(0x1p-24f)) == 0x1p-24f);
  CHECK(float(f16(0x1p-26f)) == 0);
  CHECK(std::signbit(float(f16(-0.0f))));
  CHECK(float(bf16(3.38e38f)) == Approx(3.38e38f).epsilon(0.01));
  CHECK(float(bf16(std::numeric_limits<float>::max())) == inf);
}

TEST_CASE("dtypes have sizes and names", "[dtype]") {
  std::ostringstream out;
  for (const dtype type : {dtype::f32, dtype::bf16, dtype::f16, dtype::i32, dtype::i64, dtype::u8})
    out << type << size_of(type) << (is_floating(type) ? "f " : " ");
  CHECK(out.str() == "f324f bf162f f162f i324 i648 u81 ");
}
