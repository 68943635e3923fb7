#include "clip/ops/concat.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

TEST_CASE("concat agrees with a double loop along every dimension", "[ops]") {
  for (int dim = 0; dim < 3; ++dim)
    for (const std::int64_t middle : {0, 1, 65}) {
      const Shape shape{2, 3, 5};
      const std::vector<std::int64_t> extents{1, middle, 4};
      std::vector<Array> inputs;
      for (const std::int64_t extent : extents)
        inputs.push_back(random_array(shape.with(dim, extent), -1, 1, inputs.size()));
      check_op(
          "concat", [=](auto& in) { return concat(in, dim); },
          [=](const std::vector<Array>& in) {
            Array y(shape.with(dim, 5 + middle));
            std::int64_t outer = 1, inner = 1, at = 0;
            for (int d = 0; d < 3; ++d) (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
            for (std::int64_t o = 0; o < outer; ++o)
              for (const Array& x : in)
                for (std::int64_t i = 0; i < x.shape[dim] * inner; ++i) y[at++] = x[o * x.shape[dim] * inner + i];
            return y;
          },
          inputs);
    }
  const Tensor ids = concat({Tensor::of({1, 2}, dtype::i64), Tensor::of({3}, dtype::i64)});
  CHECK(ids.to_vector<std::int64_t>() == std::vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("concat refuses tensors that do not fit", "[ops]") {
  CHECK(throws_with([] { concat(std::vector<Tensor>{}); }, "[concat] expected at least one tensor, got none"));
  CHECK(throws_with(
      [] {
        concat({zeros({2, 3}), zeros({2, 4})});
      },
      "expected shapes that agree but in dimension 0, got [2, 3] and [2, 4]"));
  CHECK(throws_with([] { concat({zeros({2}), zeros({2}, dtype::bf16)}); }, "expected f32 on cpu, got bf16 on cpu"));
  CHECK(throws_with([] { concat({zeros({}), zeros({})}); }, "expected a dimension"));
}
