#include "clip/ops/linear.hpp"

#include <cmath>
#include <thread>

#include "clip/autograd.hpp"
#include "clip/ops/view.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// Inputs x, w, bias, residual; of the last two those that are there.
Array reference_linear(const std::vector<Array>& in, Activation f) {
  const auto [rows, k] = as_rows(in[0].shape);
  const std::int64_t n = in[1].shape[0];
  Array y(in[0].shape.with(-1, n));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t o = 0; o < n; ++o) {
      double sum = in.size() > 2 ? in[2][o] : 0;
      if (in.size() > 3) sum += in[3][r * n + o];
      for (std::int64_t i = 0; i < k; ++i) sum += in[0][r * k + i] * in[1][o * k + i];
      y[r * n + o] = reference_activation(f, sum);
    }
  return y;
}

std::vector<Array> inputs(const Shape& x, std::int64_t out) {
  return {random_array(x, -1, 1, 1), random_array({out, x[-1]}, -1, 1, 2), random_array({out}, -1, 1, 3),
          random_array(x.with(-1, out), -1, 1, 4)};
}

constexpr Activation activations[] = {Activation::none, Activation::relu,      Activation::sigmoid,   Activation::tanh,
                                      Activation::gelu, Activation::gelu_tanh, Activation::quick_gelu};

const std::vector<bool> constants(4, false);  // nothing is recorded, so that everything is fused

Tensor random_tensor(const Shape& shape, std::uint64_t salt, dtype type = dtype::f32) {
  return to_tensor(random_array(shape, -1, 1, salt), type);
}

}  // namespace

TEST_CASE("linear agrees with a double loop and its differences", "[ops][onednn]") {
  for (const std::int64_t size : awkward)
    for (const Shape& x : {Shape{3, size}, Shape{size, 5}, Shape{2, 3, 17}, Shape{17}}) {
      std::vector<Array> in = inputs(x, x[-1] == 5 ? 33 : std::min<std::int64_t>(size, 65));
      in.resize(3);
      const CheckOptions options{.samples = 6};
      const Op op = [](auto& t) { return linear(t[0], t[1], t.size() > 2 ? t[2] : Tensor()); };
      const Reference reference = [](auto& a) { return reference_linear(a, Activation::none); };
      check_op("linear", op, reference, in, options);
      check_op("fused linear", op, reference, in, {.differentiable = constants});
      in.resize(2);
      check_op("linear without bias", op, reference, in, options);
    }
}

TEST_CASE("linear adds a residual and applies every activation", "[ops][onednn]") {
  for (const Activation f : activations) {
    INFO("activation " << static_cast<int>(f));
    const Op op = [=](auto& t) { return linear(t[0], t[1], t[2], {.activation = f, .residual = t[3]}); };
    const Reference reference = [=](auto& a) { return reference_linear(a, f); };
    for (const Shape& x : {Shape{7, 33}, Shape{2, 16, 64}, Shape{4, 0}}) {
      const CheckOptions recorded{.tolerance = {.bf16 = 1.6e-2}, .samples = 6};  // rounded before the activation, too
      check_op("linear", op, reference, inputs(x, 65), recorded);
      check_op("fused linear", op, reference, inputs(x, 65), {.differentiable = constants});
    }
  }
}

TEST_CASE("linear with a bias or residual that alone needs a gradient", "[ops][onednn]") {
  for (std::size_t i = 0; i < 4; ++i) {
    std::vector<bool> only(4, false);
    only[i] = true;
    check_op(
        "linear", [](auto& t) { return linear(t[0], t[1], t[2], {.residual = t[3]}); },
        [](auto& a) { return reference_linear(a, Activation::none); }, inputs({5, 8}, 6), {.differentiable = only});
  }
}

TEST_CASE("linear sees weights that were written to since they were packed", "[ops][onednn]") {
  const Tensor x = random_tensor({8, 64}, 1);
  Tensor w = random_tensor({64, 64}, 2);
  const std::vector<float> before = linear(x, w).to_vector();
  CHECK(linear(x, w).to_vector() == before);
  w.fill(0);
  CHECK(linear(x, w).to_vector() == std::vector<float>(8 * 64, 0.0f));
}

TEST_CASE("linear packs several views and shapes of one storage", "[ops][onednn]") {
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    const Tensor all = random_tensor({96, 64}, 2, type);
    for (int repeat = 0; repeat < 2; ++repeat)
      for (const std::int64_t rows : {1, 3, 64, 200})
        for (const Tensor& w : {all, slice(all, 32, 96), slice(all, 0, 64), reshape(all, {64, 96}), slice(all, 7, 8)}) {
          INFO(type << ' ' << rows << " x " << w.shape());
          const Tensor x = random_tensor({rows, w.shape(1)}, 1, type);
          const Tensor own = w.clone().requires_grad();  // recorded: not packed
          const Array packed = to_array(linear(x, w)), plain = to_array(linear(x, own));
          for (std::size_t i = 0; i < plain.values.size(); ++i)
            REQUIRE(packed.values[i] == Approx(plain.values[i]).margin(type == dtype::f32 ? 1e-5 : 4e-2));
        }
  }
}

TEST_CASE("linear takes over the memory of a residual that nobody else holds", "[ops][onednn]") {
  const Tensor x = random_tensor({4, 8}, 1), w = random_tensor({8, 8}, 2);
  Tensor residual = random_tensor({4, 8}, 3);
  const std::vector<float> values = residual.to_vector();
  const std::vector<float> expected = linear(x, w, {}, {.residual = residual}).to_vector();
  CHECK(residual.to_vector() == values);  // still held here
  const Tensor view = residual.view(0, {8, 4});
  CHECK(linear(x, w, {}, {.residual = std::move(residual)}).to_vector() == expected);
  CHECK(view.to_vector() == values);  // held by a view
  residual = view.clone().view(0, {4, 8});
  const void* memory = residual.raw();
  const Tensor y = linear(x, w, {}, {.residual = std::move(residual)});
  CHECK(y.raw() == memory);
  CHECK(y.to_vector() == expected);
}

TEST_CASE("linear follows the number of threads", "[ops][onednn]") {
  const Tensor x = random_tensor({301, 127}, 1), w = random_tensor({257, 127}, 2);
  const int before = num_threads();
  const Array expected = reference_linear({to_array(x), to_array(w)}, Activation::none);
  for (const int threads : {1, 2, 5, 1}) {
    set_num_threads(threads);
    const std::vector<float> y = linear(x, w).to_vector();
    for (std::size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == Approx(expected.values[i]).margin(2e-5));
    CHECK(linear(x, w).to_vector() == y);
  }
  set_num_threads(before);
}

TEST_CASE("several threads may share weights", "[ops][onednn][threads]") {
  const Tensor x = random_tensor({16, 64}, 1), w = random_tensor({64, 64}, 2);
  const std::vector<float> expected = linear(x, w.clone()).to_vector();
  std::vector<std::vector<float>> results(4);
  {
    std::vector<std::jthread> threads;
    for (std::vector<float>& result : results)
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) result = linear(x, w).to_vector();
      });
  }
  for (const std::vector<float>& result : results) CHECK(result == expected);
}

TEST_CASE("linear refuses operands that do not fit", "[ops]") {
  const Tensor x = zeros({2, 3}), w = zeros({5, 3});
  CHECK(throws_with(
      [&] {
        linear(x, zeros({5, 4}));
      },
      "[linear] expected inner dimensions to agree, got [2, 3] x [5, 4]^T"));
  CHECK(throws_with([&] { linear(x, zeros({3})); }, "[linear] expected weights [out, in], got shape [3]"));
  CHECK(throws_with([&] { linear(Tensor::of(1), w); }, "[linear] expected x of rank >= 1, got shape []"));
  CHECK(throws_with([&] { linear(x, w, zeros({4})); }, "[linear] expected a bias [5], got [4]"));
  CHECK(throws_with(
      [&] {
        linear(x, w, {}, {.residual = zeros({2, 3})});
      },
      "[linear] expected a residual [2, 5], got [2, 3]"));
  CHECK(throws_with([&] { linear(x, zeros({5, 3}, dtype::bf16)); }, "[linear] expected weights in f32, got bf16"));
  CHECK(throws_with(
      [&] {
        linear(zeros({2, 3}, dtype::i32), zeros({5, 3}, dtype::i32));
      },
      "[linear] expected f32 or bf16, got i32"));
}
