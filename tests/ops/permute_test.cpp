#include "clip/ops/permute.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

Array reference_permute(const Array& x, const std::vector<int>& order) {
  const auto rank = order.size();
  std::vector<std::int64_t> extents, strides(rank, 1);
  for (const int d : order) extents.push_back(x.shape[d]);
  Array y{Shape(std::span<const std::int64_t>(extents))};
  for (std::size_t d = rank - 1; d-- > 0;) strides[d] = strides[d + 1] * x.shape[static_cast<int>(d) + 1];
  for (std::int64_t i = 0; i < y.shape.numel(); ++i) {
    std::int64_t rest = i, from = 0;
    for (std::size_t d = rank; d-- > 0;) {
      from += rest % extents[d] * strides[static_cast<std::size_t>(order[d])];
      rest /= extents[d];
    }
    y[i] = x[from];
  }
  return y;
}

}  // namespace

TEST_CASE("permute agrees with a double loop for every order", "[ops]") {
  for (const Shape& shape : {Shape{2, 3, 65}, Shape{33, 1, 17}, Shape{1, 64, 40}, Shape{3, 0, 2}}) {
    const auto check_order = [&](int a, int b, int c) {
      check_op(
          "permute",
          [=](auto& in) {
            return permute(in[0], {a, b, c});
          },
          [=](auto& in) {
            return reference_permute(in[0], {a, b, c});
          },
          {random_array(shape)});
    };
    check_order(0, 1, 2);
    check_order(0, 2, 1);
    check_order(1, 0, 2);
    check_order(1, 2, 0);
    check_order(2, 0, 1);
    check_order(2, 1, 0);
  }
  check_op(
      "NHWC to NCHW",
      [](auto& in) {
        return permute(in[0], {0, 3, 1, 2});
      },
      [](auto& in) {
        return reference_permute(in[0], {0, 3, 1, 2});
      },
      {random_array({2, 5, 7, 33})});
  check_op(
      "five dimensions",
      [](auto& in) {
        return permute(in[0], {4, -3, 0, 3, 1});
      },
      [](auto& in) {
        return reference_permute(in[0], {4, 2, 0, 3, 1});
      },
      {random_array({2, 3, 4, 5, 6})});
}

TEST_CASE("transpose exchanges two dimensions of any dtype", "[ops]") {
  check_op(
      "transpose", [](auto& in) { return transpose(in[0]); },
      [](auto& in) {
        return reference_permute(in[0], {1, 0});
      },
      {random_array({257, 130})});
  check_op(
      "transpose", [](auto& in) { return transpose(in[0], 0, -1); },
      [](auto& in) {
        return reference_permute(in[0], {2, 1, 0});
      },
      {random_array({3, 4, 5})});
  CHECK(transpose(Tensor::of({{1, 2, 3}, {4, 5, 6}}, dtype::u8)).to_vector<std::uint8_t>() ==
        std::vector<std::uint8_t>{1, 4, 2, 5, 3, 6});
  CHECK(transpose(Tensor::of({{1, 2}, {3, 4}}, dtype::i64)).to_vector<std::int64_t>() ==
        std::vector<std::int64_t>{1, 3, 2, 4});
}

TEST_CASE("permute refuses orders that do not name each dimension once", "[ops]") {
  CHECK(throws_with([] { permute(zeros({2, 3}), {0}); }, "[permute] expected 2 dimensions for shape [2, 3], got 1"));
  CHECK(throws_with([] { permute(zeros({2, 3}), {0, 0}); }, "[permute] expected each dimension once, got 0 twice"));
  CHECK(throws_with([] { transpose(zeros({2})); }, "expected a dimension"));
}
