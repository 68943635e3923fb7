#include "kernels/flip.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

TEST_CASE("CUDA flip", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const std::int64_t shift : {0, 1})
    for (const auto& [outer, extent, bytes] :
         {std::tuple(2, 5, 12), {3, 64, 16}, {1, 7, 1}, {4, 1, 6}, {2, 3, 4100}, {0, 4, 8}, {4, 0, 8}, {4, 2, 0}}) {
      std::vector<std::uint8_t> x, expected;
      for (int i = 0; i < outer * extent * bytes; ++i) x.push_back(static_cast<std::uint8_t>(i * 7));
      for (int o = 0; o < outer; ++o)
        for (int e = 0; e < extent; ++e)
          for (int b = 0; b < bytes; ++b)
            expected.push_back(x[static_cast<std::size_t>((o * extent + extent - 1 - e) * bytes + b)]);
      DeviceArray<std::uint8_t> xs(x, shift), y(outer * extent * bytes, shift);
      cuda::flip(y.data(), xs.data(), outer, extent, bytes, nullptr);
      INFO(outer << " x " << extent << " x " << bytes << " bytes, shifted by " << shift);
      CHECK(same_bits(y.read(), expected));
    }
}
