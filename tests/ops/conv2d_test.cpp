#include "clip/ops/conv2d.hpp"

#include "clip/autograd.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/reference.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// Inputs x, w, bias, residual; of the last two those that are there.
Array reference_conv2d(const std::vector<Array>& in, std::int64_t stride, std::int64_t padding, Activation f) {
  const Array &x = in[0], &w = in[1];
  const std::int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3];
  const std::int64_t out = w.shape[0], kh = w.shape[2], kw = w.shape[3];
  const std::int64_t rows = (height + 2 * padding - kh) / stride + 1, cols = (width + 2 * padding - kw) / stride + 1;
  Array y({x.shape[0], rows, cols, out});
  std::int64_t at = 0;
  for (std::int64_t n = 0; n < x.shape[0]; ++n)
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < cols; ++j)
        for (std::int64_t o = 0; o < out; ++o, ++at) {
          double sum = in.size() > 2 ? in[2][o] : 0;
          if (in.size() > 3) sum += in[3][at];
          for (std::int64_t p = 0; p < kh; ++p)
            for (std::int64_t q = 0; q < kw; ++q) {
              const std::int64_t r = i * stride + p - padding, s = j * stride + q - padding;
              if (r < 0 || r >= height || s < 0 || s >= width || channels == 0) continue;
              const double* weight = w.values.data() + (o * channels * kh + p) * kw + q;
              const double* pixel = x.values.data() + ((n * height + r) * width + s) * channels;
              for (std::int64_t c = 0; c < channels; ++c) sum += weight[c * kh * kw] * pixel[c];
            }
          y[at] = reference_activation(f, sum);
        }
  return y;
}

struct Case {
  Shape x;
  std::int64_t out, kh, kw, stride, padding;
};

std::vector<Array> inputs(const Case& c) {
  const Shape y{c.x[0], (c.x[1] + 2 * c.padding - c.kh) / c.stride + 1, (c.x[2] + 2 * c.padding - c.kw) / c.stride + 1,
                c.out};
  return {random_array(c.x, -1, 1, 1), random_array({c.out, c.x[3], c.kh, c.kw}, -1, 1, 2),
          random_array({c.out}, -1, 1, 3), random_array(y, -1, 1, 4)};
}

const std::vector<Case> cases = {
    {{1, 1, 1, 1}, 1, 1, 1, 1, 0},
    {{1, 5, 4, 18}, 63, 1, 1, 2, 0},
    {{2, 5, 7, 3}, 4, 3, 3, 1, 1},
    {{2, 9, 6, 3}, 16, 7, 7, 2, 3},
    {{1, 6, 5, 17}, 33, 1, 1, 1, 0},
    {{2, 8, 7, 16}, 32, 1, 1, 2, 0},
    {{1, 7, 8, 64}, 65, 3, 3, 2, 1},
    {{1, 4, 4, 1}, 2, 1, 1, 1, 2},
    {{2, 6, 9, 5}, 3, 2, 4, 3, 2},
    {{1, 32, 32, 3}, 8, 16, 16, 16, 0},
    {{1, 3, 3, 130}, 15, 3, 3, 1, 1},
    {{0, 5, 5, 3}, 4, 3, 3, 1, 1},
    {{2, 5, 5, 0}, 4, 3, 3, 1, 1},
    {{2, 5, 5, 3}, 0, 3, 3, 1, 1},
    {{1, 0, 4, 2}, 3, 1, 1, 1, 1},
    // whose windows step, or leave the image altogether
    {{2, 6, 9, 19}, 3, 2, 4, 3, 2},
    {{2, 4, 3, 17}, 2, 3, 2, 2, 4},
    // by Winograd's method
    {{2, 7, 9, 32}, 48, 3, 3, 1, 1},
    {{33, 1, 1, 64}, 64, 3, 3, 1, 1},
    {{1, 12, 11, 80}, 64, 3, 3, 1, 1},
};

Op convolution(std::int64_t stride, std::int64_t padding, Activation f) {
  return [=](auto& t) {
    return conv2d(t[0], t[1], t.size() > 2 ? t[2] : Tensor(),
                  {.stride = stride, .padding = padding, .activation = f, .residual = t.size() > 3 ? t[3] : Tensor()});
  };
}

const std::vector<bool> constants(4, false);  // nothing is recorded, so that everything is fused

}  // namespace

TEST_CASE("conv2d agrees with a double loop and its differences", "[ops][onednn]") {
  for (const Case& c : cases) {
    INFO("stride " << c.stride << ", padding " << c.padding);
    const Op op = convolution(c.stride, c.padding, Activation::none);
    const Reference reference = [&](auto& a) { return reference_conv2d(a, c.stride, c.padding, Activation::none); };
    std::vector<Array> in = inputs(c);
    check_op("conv2d with residual", op, reference, in, {.samples = 2});
    in.resize(3);
    check_op("conv2d", op, reference, in, {.samples = c.x.numel() < 5000 ? 8 : 3});
    check_op("fused conv2d", op, reference, in, {.differentiable = constants});
    in.resize(2);
    check_op("conv2d without bias", op, reference, in, {.samples = 2});
  }
}

TEST_CASE("conv2d adds a residual and applies activations", "[ops][onednn]") {
  for (const Activation f : {Activation::relu, Activation::gelu, Activation::quick_gelu})
    for (const Case& c : cases) {
      INFO("activation " << static_cast<int>(f));
      const Op op = convolution(c.stride, c.padding, f);
      const Reference reference = [&](auto& a) { return reference_conv2d(a, c.stride, c.padding, f); };
      check_op("fused conv2d", op, reference, inputs(c), {.differentiable = constants});
      if (f == Activation::gelu && c.x.numel() < 500)
        check_op("conv2d", op, reference, inputs(c), {.tolerance = {.bf16 = 1.6e-2}, .samples = 4});
    }
}

TEST_CASE("conv2d sees weights that were written to since they were packed", "[ops][onednn]") {
  const Tensor x = to_tensor(random_array({1, 8, 8, 32}));
  Tensor w = to_tensor(random_array({32, 32, 3, 3}));
  CHECK(conv2d(x, w).to_vector() != std::vector<float>(6 * 6 * 32, 0.0f));
  w.fill(0);
  CHECK(conv2d(x, w).to_vector() == std::vector<float>(6 * 6 * 32, 0.0f));
}

TEST_CASE("conv2d takes over the memory of a residual that nobody else holds", "[ops][onednn]") {
  const Tensor x = to_tensor(random_array({1, 4, 4, 8})), w = to_tensor(random_array({8, 8, 1, 1}));
  Tensor residual = to_tensor(random_array({1, 4, 4, 8}, -1, 1, 3));
  const std::vector<float> values = residual.to_vector();
  const std::vector<float> expected = conv2d(x, w, {}, {.residual = residual}).to_vector();
  CHECK(residual.to_vector() == values);
  const void* memory = residual.raw();
  const Tensor y = conv2d(x, w, {}, {.residual = std::move(residual)});
  CHECK(y.raw() == memory);
  CHECK(y.to_vector() == expected);
}

TEST_CASE("conv2d and its gradients follow the number of threads", "[ops][onednn]") {
  const int before = num_threads();
  for (const int threads : {1, 2, 5, 1}) {
    set_num_threads(threads);
    check_op("conv2d", convolution(1, 1, Activation::none),
             [](auto& a) { return reference_conv2d(a, 1, 1, Activation::none); },
             inputs({{3, 9, 10, 19}, 35, 3, 3, 1, 1}), {.samples = 8});
  }
  set_num_threads(before);
}

TEST_CASE("conv2d refuses operands that do not fit", "[ops]") {
  const Tensor x = zeros({1, 4, 5, 3}), w = zeros({2, 3, 3, 3});
  CHECK(throws_with(
      [&] {
        conv2d(zeros({4, 5, 3}), w);
      },
      "[conv2d] expected images [N, H, W, C], got shape [4, 5, 3]"));
  CHECK(throws_with(
      [&] {
        conv2d(x, zeros({2, 3, 3}));
      },
      "[conv2d] expected weights [out, in, kernel height, kernel width], got shape [2, 3, 3]"));
  CHECK(throws_with(
      [&] {
        conv2d(x, zeros({2, 4, 3, 3}));
      },
      "[conv2d] expected as many channels in images as in weights, got [1, 4, 5, 3] and [2, 4, 3, 3]"));
  CHECK(throws_with([&] { conv2d(x, zeros({2, 3, 6, 3})); }, "[conv2d] expected a kernel within the padded image"));
  CHECK(throws_with([&] { conv2d(x, zeros({2, 3, 0, 3})); }, "[conv2d] expected a kernel within the padded image"));
  CHECK(throws_with([&] { conv2d(x, w, {}, {.stride = 0}); }, "[conv2d] expected a stride in [1, 2^30], got 0"));
  CHECK(throws_with([&] { conv2d(x, w, {}, {.padding = -1}); }, "[conv2d] expected a padding in [0, 2^30], got -1"));
  CHECK(throws_with([&] { conv2d(x, w, zeros({3})); }, "[conv2d] expected a bias [2], got [3]"));
  CHECK(throws_with(
      [&] {
        conv2d(x, w, {}, {.residual = zeros({1, 4, 5, 2})});
      },
      "[conv2d] expected a residual [1, 2, 3, 2], got [1, 4, 5, 2]"));
  CHECK(throws_with(
      [&] {
        conv2d(x, zeros({2, 3, 3, 3}, dtype::bf16));
      },
      "[conv2d] expected weights in f32, got bf16"));
}
