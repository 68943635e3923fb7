#include "kernels/cast.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

template <class From, class To>
void check_cast(const std::vector<From>& x, const std::vector<To>& expected) {
  INFO(name_of(dtype_of<From>) << " to " << name_of(dtype_of<To>));
  for (const std::int64_t copies : {1, 700}) {  // single elements, then whole blocks of threads
    std::vector<From> many;
    std::vector<To> many_expected;
    for (std::int64_t copy = 0; copy < copies; ++copy) {
      many.insert(many.end(), x.begin(), x.end());
      many_expected.insert(many_expected.end(), expected.begin(), expected.end());
    }
    DeviceArray<From> xs(many, copies == 1 ? 1 : 0);
    DeviceArray<To> y(static_cast<std::int64_t>(many.size()));
    cuda::cast(y.data(), dtype_of<To>, xs.data(), dtype_of<From>, static_cast<std::int64_t>(many.size()), nullptr);
    CHECK(same_bits(y.read(), many_expected));
  }
}

}  // namespace

TEST_CASE("CUDA casts round to nearest even, truncate and saturate", "[kernels][cuda]") {
  if (!have_device()) return;
  const float inf = HUGE_VALF;
  const std::vector<float> x{0.0f, -0.0f, 1.00390625f, 1.01171875f, -2.75f, 3e9f, -3e9f, 1e30f, 70000.0f, inf, -inf};
  std::vector<bf16> narrow;
  std::vector<f16> half;
  std::vector<float> wide;
  for (const float v : x) {
    narrow.emplace_back(v);
    half.emplace_back(v);
    wide.push_back(bf16(v));
  }
  constexpr std::int32_t most = 2147483647, least = -most - 1;
  constexpr std::int64_t most64 = 9223372036854775807, least64 = -most64 - 1;
  check_cast(x, narrow);
  check_cast(x, half);
  check_cast(narrow, wide);
  check_cast(x, std::vector<std::int32_t>{0, 0, 1, 1, -2, most, least, most, 70000, most, least});
  check_cast(x, std::vector<std::int64_t>{0, 0, 1, 1, -2, 3000000000, -3000000000, most64, 70000, most64, least64});
  check_cast(x, std::vector<std::uint8_t>{0, 0, 1, 1, 0, 255, 0, 255, 255, 255, 0});
  check_cast(std::vector<float>{std::nanf("")}, std::vector<std::int32_t>{0});
  check_cast(std::vector<std::int64_t>{-1, 16777217, 300}, std::vector<float>{-1, 16777216, 300});
  check_cast(std::vector<std::int64_t>{-1, 4294967298, 300}, std::vector<std::int32_t>{-1, 2, 300});
  check_cast(std::vector<std::uint8_t>{0, 255}, std::vector<bf16>{bf16(0.0f), bf16(255.0f)});
}
