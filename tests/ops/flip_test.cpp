#include "clip/ops/flip.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference_flip(const Array& x, int dim) {
  Array y{x.shape};
  std::int64_t inner = 1;
  for (int d = dim + 1; d < x.shape.rank(); ++d) inner *= x.shape[d];
  for (std::int64_t i = 0; i < y.shape.numel(); ++i) {
    const std::int64_t at = i / inner % x.shape[dim];
    y[i] = x[i + (x.shape[dim] - 1 - 2 * at) * inner];
  }
  return y;
}

}  // namespace

TEST_CASE("flip agrees with a loop along every dimension", "[ops]") {
  for (const Shape& shape : {Shape{2, 5, 6, 3}, Shape{1, 1, 1, 1}, Shape{3, 1, 64, 8}, Shape{2, 0, 3, 1}})
    for (const int dim : {0, 1, 2, 3})
      check_op(
          "flip", [=](auto& in) { return flip(in[0], dim); }, [=](auto& in) { return reference_flip(in[0], dim); },
          {random_array(shape)});
  CHECK(flip(Tensor::of({{1, 2, 3}, {4, 5, 6}}, dtype::u8), -1).to_vector<std::uint8_t>() ==
        std::vector<std::uint8_t>{3, 2, 1, 6, 5, 4});
  CHECK(flip(Tensor::of({{1, 2}, {3, 4}}, dtype::i64), 0).to_vector<std::int64_t>() ==
        std::vector<std::int64_t>{3, 4, 1, 2});
  CHECK(throws_with([] { flip(zeros({2, 3}), 2); }, "[flip] expected a dimension"));
}
