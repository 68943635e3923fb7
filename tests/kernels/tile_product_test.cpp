#include "kernels/cpu/tile_product.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"

using namespace clip;
using namespace clip::test;
using kernels::cpu::tile_product;
using kernels::cpu::TileView;

TEST_CASE("tile_product agrees with a double loop, transposed or not, from any address", "[kernels]") {
  for (const std::int64_t rows : {4, 8, 64})
    for (const std::int64_t cols : {16, 32, 48, 64, 80, 176})
      for (const std::int64_t depth : {0, 1, 7, 64})
        for (const bool transposed : {false, true})
          for (const bool accumulate : {false, true}) {
            const std::int64_t b_stride = cols + 3, c_stride = cols + 5;
            const std::vector<float> a = to_tensor(random_array({rows * depth + 1})).to_vector();
            const std::vector<float> b = to_tensor(random_array({depth * b_stride + 1}, -1, 1, 1)).to_vector();
            std::vector<float> c = to_tensor(random_array({rows * c_stride + 1}, -1, 1, 2)).to_vector();
            const std::vector<float> before = c;
            const TileView view = transposed ? TileView{a.data(), 1, rows} : TileView{a.data(), depth, 1};
            tile_product(c.data() + 1, c_stride, view, b.data() + 1, b_stride, rows, cols, depth, accumulate);

            INFO(rows << " x " << depth << " x " << cols << (transposed ? ", transposed" : "") << accumulate);
            double worst = 0;
            for (std::int64_t i = 0; i < rows; ++i)
              for (std::int64_t j = 0; j < c_stride; ++j) {
                const auto at = static_cast<std::size_t>(1 + i * c_stride + j);
                double expected = accumulate || j >= cols ? static_cast<double>(before[at]) : 0;
                for (std::int64_t k = 0; k < depth && j < cols; ++k)
                  expected +=
                      static_cast<double>(a[static_cast<std::size_t>(transposed ? k * rows + i : i * depth + k)]) *
                      static_cast<double>(b[static_cast<std::size_t>(1 + k * b_stride + j)]);
                worst = std::max(worst, std::abs(static_cast<double>(c[at]) - expected));
              }
            CHECK(worst < 1e-5);
          }
}
