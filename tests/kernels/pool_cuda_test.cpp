#include "kernels/pool.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

struct Expected {
  std::vector<double> y, dx;
  std::vector<std::int32_t> index;
};

/// Of distinct numbers, and NaN.
Expected max_pool(const std::vector<double>& x, const std::vector<double>& dy, const kernels::PoolShape& s) {
  Expected e{{}, std::vector<double>(x.size()), {}};
  for (std::int64_t out = 0; out < s.images * s.out_height * s.out_width; ++out)
    for (std::int64_t c = 0; c < s.channels; ++c) {
      std::int64_t best = -1;
      const std::int64_t image = out / (s.out_height * s.out_width) * s.height * s.width;
      const auto at = [&](std::int64_t position) {
        return static_cast<std::size_t>((image + position) * s.channels + c);
      };
      for (std::int64_t k = 0; k < s.kernel * s.kernel; ++k) {
        const std::int64_t h = out / s.out_width % s.out_height * s.stride - s.padding + k / s.kernel;
        const std::int64_t w = out % s.out_width * s.stride - s.padding + k % s.kernel;
        if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
        const std::int64_t position = h * s.width + w;
        if (best < 0 || x[at(position)] > x[at(best)] || (std::isnan(x[at(position)]) && !std::isnan(x[at(best)])))
          best = position;
      }
      e.dx[at(best)] += dy[e.y.size()];
      e.y.push_back(x[at(best)]);
      e.index.push_back(static_cast<std::int32_t>(best));
    }
  return e;
}

}  // namespace

TEST_CASE("CUDA max_pool2d", "[kernels][cuda]") {
  if (!have_device()) return;
  struct Case {
    std::int64_t images, height, width, channels, kernel, stride, padding, shift;
  };
  for_each_type([]<class T>() {
    for (const Case& c : {Case{2, 9, 7, 16, 3, 2, 1, 0},
                          {1, 8, 8, 24, 2, 2, 0, 1},
                          {1, 5, 6, 3, 3, 1, 1, 0},
                          {1, 4, 9, 40, 5, 3, 2, 0},
                          {1, 7, 7, 8, 1, 3, 0, 0},
                          {0, 4, 4, 8, 2, 2, 0, 0}}) {
      INFO("[" << c.images << ", " << c.height << ", " << c.width << ", " << c.channels << "], kernel " << c.kernel);
      const kernels::PoolShape s{.images = c.images,
                                 .height = c.height,
                                 .width = c.width,
                                 .channels = c.channels,
                                 .kernel = c.kernel,
                                 .stride = c.stride,
                                 .padding = c.padding,
                                 .out_height = (c.height + 2 * c.padding - c.kernel) / c.stride + 1,
                                 .out_width = (c.width + 2 * c.padding - c.kernel) / c.stride + 1};
      const std::int64_t count = c.images * c.height * c.width * c.channels;
      const std::int64_t outputs = c.images * s.out_height * s.out_width * c.channels;
      auto x = random_values<T>(count, -8, 8, 1);  // 16-bit ones repeat: the first of equals wins
      for (std::size_t i = 0; i < x.size(); i += 91) x[i] = T(std::nanf(""));
      const auto dy = random_values<T>(outputs, -1, 1, 2);
      DeviceArray<T> xs(x, c.shift), dys(dy, c.shift), y(outputs, c.shift), dx(count, c.shift), plain(outputs, c.shift);
      DeviceArray<std::int32_t> index(outputs, c.shift);
      cuda::max_pool2d_forward(y.data(), index.data(), xs.data(), s, nullptr);
      cuda::max_pool2d_forward(plain.data(), static_cast<std::int32_t*>(nullptr), xs.data(), s, nullptr);
      cuda::max_pool2d_backward(dx.data(), dys.data(), index.data(), s, nullptr);
      const Expected e = max_pool(widened(x), widened(dy), s);
      CHECK(worst_error(y.read(), e.y) == 0);
      CHECK(index.read() == e.index);
      CHECK(same_bits(plain.read(), y.read()));
      CHECK(worst_error(dx.read(), e.dx) <= rounding<T>);
    }
  });
}
