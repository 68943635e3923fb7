#include "clip/ops/matmul.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// [batch, rows, cols] of an operand; a shared one repeats.
struct Matrices {
  const Array& array;
  bool transposed;
  std::int64_t rows() const { return array.shape[transposed ? -1 : -2]; }
  std::int64_t cols() const { return array.shape[transposed ? -2 : -1]; }
  double at(std::int64_t batch, std::int64_t r, std::int64_t c) const {
    const std::int64_t first = array.shape.rank() == 2 ? 0 : batch * rows() * cols();
    return array[first + (transposed ? c * rows() + r : r * cols() + c)];
  }
};

Array reference_matmul(const Array& a_array, const Array& b_array, MatmulOptions options) {
  const Matrices a{a_array, options.transpose_a}, b{b_array, options.transpose_b};
  const std::int64_t m = a.rows(), k = a.cols(), n = b.cols();
  Array y(a_array.shape.with(-2, m).with(-1, n));
  const std::int64_t batch = a_array.shape.with(-2, 1).with(-1, 1).numel();
  for (std::int64_t l = 0; l < batch; ++l)
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t p = 0; p < k; ++p) y[(l * m + i) * n + j] += a.at(l, i, p) * b.at(l, p, j);
  return y;
}

void check_matmul(const Shape& a, const Shape& b, MatmulOptions options) {
  INFO("transposed: " << options.transpose_a << ' ' << options.transpose_b);
  check_op(
      "matmul", [=](auto& in) { return matmul(in[0], in[1], options); },
      [=](auto& in) { return reference_matmul(in[0], in[1], options); },
      {random_array(a, -1, 1, 1), random_array(b, -1, 1, 2)}, {.samples = 6});
}

constexpr MatmulOptions transposes[] = {{false, false}, {true, false}, {false, true}, {true, true}};

Shape stored(std::int64_t rows, std::int64_t cols, bool transposed) {
  return transposed ? Shape{cols, rows} : Shape{rows, cols};
}

}  // namespace

TEST_CASE("matmul agrees with a double loop and its differences for every transpose", "[ops][onednn]") {
  struct Size {
    std::int64_t m, n, k;
  };
  for (const auto [m, n, k] : {Size{1, 1, 1}, Size{1, 65, 17}, Size{63, 1, 16}, Size{17, 15, 1}, Size{2, 64, 127},
                               Size{65, 33, 64}, Size{3, 2, 1000}})
    for (const MatmulOptions options : transposes)
      check_matmul(stored(m, k, options.transpose_a), stored(k, n, options.transpose_b), options);
}

TEST_CASE("matmul multiplies batches, with own and with shared second operands", "[ops][onednn]") {
  for (const MatmulOptions options : transposes) {
    const Shape a = stored(5, 7, options.transpose_a), b = stored(7, 9, options.transpose_b);
    check_matmul(a.inserted(0, 3), b.inserted(0, 3), options);
    check_matmul(a.inserted(0, 3).inserted(0, 2), b.inserted(0, 3).inserted(0, 2), options);
    check_matmul(a.inserted(0, 1), b.inserted(0, 1), options);
    check_matmul(a.inserted(0, 3), b, options);
    check_matmul(a.inserted(0, 3).inserted(0, 2), b, options);
    check_matmul(a.inserted(0, 1), b, options);
  }
}

TEST_CASE("matmul of nothing is nothing, and an empty sum is zero", "[ops][onednn]") {
  for (const MatmulOptions options : transposes) {
    const auto check_sizes = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
      const Shape a = stored(m, k, options.transpose_a), b = stored(k, n, options.transpose_b);
      check_matmul(a, b, options);
      check_matmul(a.inserted(0, 2), b.inserted(0, 2), options);
      check_matmul(a.inserted(0, 2), b, options);
      check_matmul(a.inserted(0, 0), b, options);
    };
    check_sizes(0, 3, 4);
    check_sizes(3, 0, 4);
    check_sizes(3, 4, 0);
    check_sizes(0, 0, 0);
  }
  CHECK(matmul(zeros({2, 0}), zeros({0, 2})).to_vector() == std::vector<float>(4, 0.0f));
}

TEST_CASE("matmul refuses operands that do not fit", "[ops]") {
  CHECK(throws_with(
      [] {
        matmul(zeros({2, 3}), zeros({4, 5}));
      },
      "[matmul] expected inner dimensions to agree, got [2, 3] x [4, 5]"));
  CHECK(throws_with([] { matmul(zeros({2, 3}), zeros({3, 5}), {.transpose_a = true}); }, "got [2, 3]^T x [3, 5]"));
  CHECK(throws_with([] { matmul(zeros({2, 3}), zeros({3, 5}), {.transpose_b = true}); }, "got [2, 3] x [3, 5]^T"));
  CHECK(throws_with(
      [] {
        matmul(zeros({3}), zeros({3, 5}));
      },
      "[matmul] expected operands of rank >= 2, got [3] x [3, 5]"));
  CHECK(throws_with(
      [] {
        matmul(zeros({2, 2, 3}), zeros({3, 3, 5}));
      },
      "[matmul] expected leading dimensions to agree"));
  CHECK(throws_with([] { matmul(zeros({2, 3}), zeros({2, 3, 5})); }, "[matmul] expected leading dimensions to agree"));
  CHECK(throws_with([] { matmul(zeros({2, 3}), zeros({3, 5}, dtype::bf16)); }, "got f32 and bf16"));
  CHECK(throws_with(
      [] {
        matmul(zeros({2, 3}, dtype::i32), zeros({3, 5}, dtype::i32));
      },
      "[matmul] expected f32 or bf16, got i32"));
}
