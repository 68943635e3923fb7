#include "kernels/concat.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA copy_rows", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t rows, bytes, y_stride, x_stride, shift;
  };
  for (const Case& c : {Case{3, 32, 48, 32, 0},
                        {300, 16, 16, 64, 0},
                        {5, 24, 40, 24, 8},
                        {7, 20, 20, 36, 4},
                        {9, 6, 10, 6, 2},
                        {4, 5, 9, 7, 1},
                        {2, 5000, 5001, 5000, 0},
                        {1, 70000, 70000, 70000, 16},
                        {2, 0, 16, 16, 0},
                        {0, 16, 16, 16, 0}}) {
    INFO(c.rows << " rows of " << c.bytes << " bytes to every " << c.y_stride << "th from every " << c.x_stride
                << "th byte, " << c.shift << " past an aligned address");
    std::vector<std::uint8_t> x, expected(static_cast<std::size_t>(c.rows * c.y_stride), 0xff);
    for (std::int64_t i = 0; i < c.rows * c.x_stride; ++i) x.push_back(static_cast<std::uint8_t>(i * 37 % 251));
    for (std::int64_t r = 0; r < c.rows; ++r)
      for (std::int64_t i = 0; i < c.bytes; ++i)
        expected[static_cast<std::size_t>(r * c.y_stride + i)] = x[static_cast<std::size_t>(r * c.x_stride + i)];
    DeviceArray<std::uint8_t> xs(x, c.shift), y(c.rows * c.y_stride, c.shift);
    cuda::copy_rows(y.data(), c.y_stride, xs.data(), c.x_stride, c.bytes, c.rows, nullptr);
    CHECK(same_bits(y.read(), expected));  // between rows nothing is written
  }
}
